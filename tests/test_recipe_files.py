"""Recipe files: what is written is read back exactly, and every fault is a UsageError that names its place."""

from __future__ import annotations

import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_spaces import recipes
from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.errors import UsageError
from thalweg.optimizers.conventions import CONVENTIONS
from thalweg.ranges import Choice, Integers, LogUniform, choice, log_uniform, uniform
from thalweg.recipe import Recipe
from thalweg.recipe_files import (
    Named,
    decode,
    encode,
    flatten,
    kinds,
    load_recipe,
    read_json,
    read_toml,
    save_recipe,
    to_json,
    to_toml,
)

DESIGN = """
batch_size = 128
epochs = 20
[loss]
kind = ["softmax", "hinge"]
[penalty]
kind = "l2"
strength = { log_uniform = [1e-6, 1e-1] }
[optimizer]
kind = "adam"
[optimizer.learning_rate]
kind = "cosine"
peak = { log_uniform = [1e-4, 1e-1] }
"""


@given(recipes())
@settings(max_examples=150)
def test_every_recipe_and_space_comes_back_exactly(recipe):
    for again in (decode(encode(recipe)), read_json(to_json(recipe)), read_toml(to_toml(recipe))):
        assert again == recipe
        # Equality of trees takes 1 for 1.0: the texts do not.
        assert to_json(again) == to_json(recipe)


@given(recipes())
def test_a_brief_recipe_is_the_same_recipe(recipe):
    assert read_toml(to_toml(recipe, brief=True)) == recipe
    assert len(to_toml(recipe, brief=True)) <= len(to_toml(recipe))


def test_a_brief_recipe_says_what_matters():
    text = to_toml(Recipe(optimizer=optimizers.AdamW(0.01, weight_decay=0.0), epochs=3), brief=True)
    assert "beta1" not in text
    assert 'kind = "adamw"\nweight_decay = 0.0' in text
    assert "epochs = 3" in text


@pytest.mark.parametrize("name", [n for n in optimizers.__all__ if n in {"SGD", "AdaGrad", "RMSProp", "Adam", "AdamW"}])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_comes_back(name, convention):
    optimizer = getattr(optimizers, name)(0.1, convention=convention)
    again = read_toml(to_toml(Recipe(optimizer=optimizer))).optimizer
    assert again == optimizer
    assert again.convention == convention


def test_all_parts_have_a_kind():
    """A kind added to a module's names can be named in a file, unless it holds functions or is a base."""
    for role, module, left_out in (
        ("model", models, {models.Functions}),
        ("loss", losses, set()),
        ("penalty", penalties, set()),
        ("optimizer", optimizers, {optimizers.Optimizer, optimizers.Optax, optimizers.Transformation}),
        ("learning_rate", schedules, {schedules.Schedule, schedules.Given, schedules.Scaled}),
    ):
        exported = [getattr(module, name) for name in module.__all__]
        parts = {c for c in exported if isinstance(c, type) and issubclass(c, eqx.Module)}
        assert set(kinds(role).values()) == parts - left_out
        assert len(kinds(role)) == len(parts - left_out)  # no two share a name


def test_the_design_example():
    assert read_toml(DESIGN) == Recipe(
        loss=choice(losses.Softmax(), losses.Hinge()),
        penalty=penalties.L2(log_uniform(1e-6, 1e-1)),
        optimizer=optimizers.Adam(schedules.Cosine(log_uniform(1e-4, 1e-1))),
        batch_size=128,
        epochs=20,
    )


def test_an_empty_file_is_the_default_recipe():
    assert read_toml("") == read_json("{}") == Recipe()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0.1", 0.1),
        ("1", 1),
        ("{ log_uniform = [1e-3, 1] }", log_uniform(1e-3, 1)),
        ("[0.1, 0.01]", choice(0.1, 0.01)),
        ("{ choice = [0.1, { uniform = [0.2, 0.3] }] }", choice(0.1, uniform(0.2, 0.3))),
        ("[[0.1, 0.2], 0.3]", choice(choice(0.1, 0.2), 0.3)),
        ('{ kind = "cosine", peak = 0.1 }', schedules.Cosine(0.1)),
        (
            '[{ kind = "cosine", peak = 0.1 }, { kind = "inverse_sqrt", peak = [1, 2] }]',
            choice(schedules.Cosine(0.1), schedules.InverseSqrt(choice(1, 2))),
        ),
        ('[{ kind = "cosine", peak = 0.1 }, 0.2]', choice(schedules.Cosine(0.1), schedules.Constant(0.2))),
        (
            '{ kind = ["cosine", "step"], peak = 0.1, initial = 0.2, at = [1, 2], unit = "epochs" }',
            choice(schedules.Cosine(0.1, unit="epochs"), schedules.Step(0.2, (1, 2))),
        ),
        ('{ kind = "step", initial = 1, at = [[1, 2], [3]] }', schedules.Step(1, choice((1, 2), (3,)))),
        ('{ kind = "step", initial = 1, at = { choice = [[1], []] } }', schedules.Step(1, choice((1,), ()))),
        (
            '{ kind = "warmup", steps = 5, then = { kind = "warmup", steps = 2, then = 0.1 } }',
            schedules.Warmup(5, schedules.Warmup(2, 0.1)),
        ),
    ],
)
def test_forms_of_a_learning_rate(written, meant):
    found = read_toml(f'optimizer = {{ kind = "sgd", learning_rate = {written} }}')
    assert found == Recipe(optimizer=optimizers.SGD(meant))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('optimizer = ["adam", "adamw"]', Recipe(optimizer=choice(optimizers.Adam(), optimizers.AdamW()))),
        (
            'optimizer = { kind = ["sgd", "adam"], learning_rate = 0.1, momentum = 0.9, beta1 = [0.8, 0.9] }',
            Recipe(optimizer=choice(optimizers.SGD(0.1, 0.9), optimizers.Adam(0.1, choice(0.8, 0.9)))),
        ),
        (
            '[penalty]\nkind = ["l1", "elastic_net", "none"]\nstrength = 0.1\nbeta = 2.0',
            Recipe(penalty=choice(penalties.L1(0.1), penalties.ElasticNet(0.1, 2.0), penalties.NoPenalty())),
        ),
        ('[[loss]]\nkind = "softmax"\n[[loss]]\nkind = "hinge"', Recipe(loss=choice(losses.Softmax(), losses.Hinge()))),
        ('loss = ["softmax", ["hinge"]]', Recipe(loss=choice(losses.Softmax(), choice(losses.Hinge())))),
        ('loss = { kind = ["hinge"] }', Recipe(loss=choice(losses.Hinge()))),
        ('penalty = "none"', Recipe(penalty=penalties.NoPenalty())),
        ('batch_size = ["full", 32]', Recipe(batch_size=choice("full", 32))),
        ("epochs = { integers = [5, 10] }", Recipe(epochs=Integers(5, 10))),
        (
            'optimizer = { kind = "sgd", learning_rate = 1.0, momentum = ["none", 0.9] }',
            Recipe(optimizer=optimizers.SGD(1.0, choice(None, 0.9))),
        ),
        ("[model]\nkind = 'linear'\nbias = [true, false]", Recipe(model=models.Linear(bias=choice(True, False)))),
    ],
)
def test_forms_of_parts_and_values(written, meant):
    assert read_toml(written) == meant


SGD = 'optimizer = {{ kind = "sgd", learning_rate = {} }}'


@pytest.mark.parametrize(
    ("written", "message"),
    [
        # Keys, with the nearest known one
        ("epoch = 3", r"recipe\.epoch is not a key of recipe \(did you mean 'epochs'\?\); known are: model, loss, "),
        (
            "[penalty]\nkind = 'l2'\nstrenght = 1",
            r"recipe\.penalty\.strenght is not a key of l2 \(did you mean 'strength",
        ),
        ("[loss]\nkind = 'hinge'\nmargin = 1", r"recipe\.loss\.margin is not a key of hinge; known are: none"),
        (
            "[penalty]\nkind = ['l1', 'l2']\nbeta = 1",
            r"recipe\.penalty\.beta is known to none of l1, l2; known are: str",
        ),
        ('"a b\\n" = 3', r"recipe\.'a b\\n' is not a key"),
        (
            "[[loss]]\nkind = 'hinge'\n[[loss]]\nkind = 'softmax'\nx = 1",
            r"recipe\.loss\[1\]\.x is not a key of softmax",
        ),
        # Kinds
        ("optimizer = 'adm'", r"recipe\.optimizer\.kind is 'adm'; it must be one of adagrad, adam, .*mean 'adam'\?"),
        ("[optimizer]\nlearning_rate = 1", r"recipe\.optimizer\.kind is missing; it must be one of adagrad, adam, "),
        ("optimizer = { kind = { a = 1 } }", r"recipe\.optimizer\.kind is \{'a': 1\}; it must be one of "),
        ("optimizer = { kind = [['adam']] }", r"recipe\.optimizer\.kind is \['adam'\]; it must be one of "),
        ("optimizer = { kind = [] }", r"recipe\.optimizer\.kind is an empty list"),
        ("optimizer = []", r"recipe\.optimizer is an empty list"),
        ("loss = 3", r"recipe\.loss is 3; it must be a table with a kind, one of hinge, softmax"),
        ("loss = { uniform = [0, 1] }", r"recipe\.loss\.kind is missing"),
        ("model = 'functions'", r"recipe\.model\.kind is 'functions', which holds Python functions.* in Python"),
        ("optimizer = 'optax'", r"recipe\.optimizer\.kind is 'optax', which holds Python functions.* in Python"),
        ("optimizer = ['transformation']", r"recipe\.optimizer\[0\]\.kind is 'transformation', which holds Python"),
        ("optimizer = 'optimizer'", r"recipe\.optimizer\.kind is 'optimizer'; it must be one of"),
        (SGD.format("{ kind = 'given' }"), r"recipe\.optimizer\.learning_rate\.kind is 'given'; it must be one of"),
        (SGD.format("{ kind = 'scaled' }"), r"recipe\.optimizer\.learning_rate\.kind is 'scaled'; it must be one of"),
        (SGD.format("'0.1'"), r"recipe\.optimizer\.learning_rate\.kind is '0\.1'; .*or a plain number"),
        # Missing arguments
        ("penalty = 'l2'", r"recipe\.penalty\.strength is missing; give it a number, or something like \{ log_uniform"),
        (SGD.format("'cosine'"), r"recipe\.optimizer\.learning_rate\.peak is missing"),
        (SGD.format("{ kind = 'warmup', steps = 1 }"), r"recipe\.optimizer\.learning_rate\.then is missing; .*cosine"),
        (SGD.format("{ peak = 1 }"), r"recipe\.optimizer\.learning_rate\.kind is missing"),
        ("optimizer = 'sgd'", r"recipe\.optimizer: SGD: learning_rate is not given"),
        ("optimizer = ['adam', 'sgd']", r"recipe\.optimizer\[1\]: SGD: learning_rate is not given"),
        # Values
        ("batch_size = 'ful'", r"recipe: batch_size is 'ful'; give a whole number, or 'full'"),
        ("batch_size = true", r"recipe: batch_size is True; give a number"),
        ("batch_size = 0", r"recipe: batch_size is 0; it must be finite and at least 1"),
        ("batch_size = [32, 'fill']", r"recipe: batch_size is 'fill'"),
        ("epochs = 1.5", r"recipe: epochs is 1\.5; it must be a whole number"),
        ("epochs = { uniform = [1, 5] }", r"recipe: epochs is .*integers\(1, 5\)"),
        ("epochs = []", r"recipe\.epochs is an empty list"),
        ("epochs = { choice = [] }", r"recipe\.epochs is an empty list"),
        ("seed = -1", r"recipe: seed is -1"),
        ("seed = 4294967296", r"recipe: seed is 4294967296; it must be finite and at most"),
        ("model = { kind = 'linear', bias = 1 }", r"recipe\.model: Linear: bias is 1; give true or false"),
        ("penalty = { kind = 'l2', strength = nan }", r"recipe\.penalty: L2: strength is nan; it must be finite"),
        ("penalty = { kind = 'l2', strength = inf }", r"recipe\.penalty: L2: strength is inf; it must be finite"),
        ("penalty = { kind = 'l2', strength = true }", r"recipe\.penalty: L2: strength is True; give a number"),
        ("penalty = { kind = 'l2', strength = '1' }", r"recipe\.penalty: L2: strength is '1'; give a number"),
        ("penalty = { kind = 'l2', strength = 'none' }", r"recipe\.penalty: L2: strength is None; give a number"),
        ("penalty = { kind = 'l2', strength = 2020-01-01 }", r"recipe\.penalty: L2: strength is datetime"),
        ("optimizer = { kind = 'adam', beta1 = 1.5 }", r"recipe\.optimizer: Adam: beta1 is 1\.5; .*below 1"),
        ("optimizer = { kind = 'adam', convention = 'keas' }", r"recipe\.optimizer: Adam: convention is 'keas'"),
        (SGD.format("true"), r"recipe\.optimizer\.learning_rate: Constant: value is True; give a number"),
        (SGD.format("-1"), r"recipe\.optimizer\.learning_rate: Constant: value is -1; it must be .*at least 0"),
        (SGD.format("{ kind = 'step', initial = 1, at = 3 }"), r"recipe\.optimizer\.learning_rate: Step: at is 3"),
        (
            SGD.format("{ kind = 'linear', peak = 1, unit = 'epoch' }"),
            r"recipe\.optimizer\.learning_rate: Linear: unit",
        ),
        # Ranges
        (
            "epochs = { integer = [1, 2] }",
            r"recipe\.epochs is \{'integer': \[1, 2\]\}; .*\(did you mean 'integers'\?\)",
        ),
        ("epochs = { integers = [1, 2], uniform = [1, 2] }", r"recipe\.epochs is .*a range has one key"),
        ("epochs = {}", r"recipe\.epochs is \{\}; a range has one key"),
        ("epochs = { choice = 3 }", r"recipe\.epochs is .*a range has one key"),
        ("epochs = { integers = [1] }", r"recipe\.epochs: integers is \[1\]; give its two ends"),
        ("epochs = { integers = [5, 5] }", r"recipe\.epochs: integers\(5, 5\) is empty"),
        ("epochs = { integers = [1, 2.5] }", r"recipe\.epochs: integers\(1, 2\.5\): both ends must be whole"),
        ("epochs = [1, { integers = [true, 2] }]", r"recipe\.epochs\[1\]: integers: low is True; give a number"),
        (
            "penalty = { kind = 'l2', strength = { log_uniform = [0, 1] } }",
            r"recipe\.penalty\.strength: log_uniform\(0",
        ),
        ("penalty = { kind = 'l2', strength = { uniform = [2, 1] } }", r"recipe\.penalty\.strength: uniform\(2, 1\)"),
        (
            "penalty = { kind = 'l2', strength = { uniform = [1, inf] } }",
            r"recipe\.penalty\.strength: uniform: high is",
        ),
        ("penalty = { kind = 'l2', strength = { uniform = [-1, 1] } }", r"recipe\.penalty: L2: strength is -1"),
        # The text itself
        ("epochs = 1 2", r"this is not TOML: .*line 1"),
        ("epochs = 1\nepochs = 2", r"this is not TOML: .*overwrite"),
        (f"epochs = {'9' * 5000}", r"this is not TOML: Exceeds the limit"),
        (f"epochs = {'[' * 100_000}", r"this is not TOML: maximum recursion"),
    ],
    ids=lambda text: text[:60],
)
def test_faults_name_the_key_the_value_and_the_remedy(written, message):
    with pytest.raises(UsageError, match="^" + message):
        read_toml(written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "this is not JSON: Expecting value"),
        ("{", "this is not JSON"),
        ("[]", r"a recipe is a table of keys and values; this is \[\]"),
        ("null", "a recipe is a table of keys and values; this is None"),
        ('{"epochs": 1, "epochs": 2}', "this is not JSON: the key 'epochs' stands twice in one object"),
        ('{"penalty": {"kind": "l2", "strength": NaN}}', r"recipe\.penalty: L2: strength is nan"),
        ('{"penalty": {"kind": "l2", "strength": 1e999}}', r"recipe\.penalty: L2: strength is inf"),
        ('{"penalty": null}', r"recipe\.penalty is None; it must be a table"),
        ("[" * 100_000, "this is not JSON: maximum recursion"),
        ('{"epochs": ' + "9" * 5000 + "}", "this is not JSON: Exceeds the limit"),
    ],
    ids=lambda text: text[:40],
)
def test_faults_in_json(written, message):
    with pytest.raises(UsageError, match="^" + message):
        read_json(written)


def test_deep_nesting_and_long_values_are_told_briefly():
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UsageError, match=r"^the recipe is nested too deeply"):
        decode({"epochs": deep})
    with pytest.raises(UsageError) as caught:
        decode({"loss": ["hinge"] * 1000 + [{str(i): "x" * 1000 for i in range(1000)}, 3]})
    assert len(str(caught.value)) < 300
    with pytest.raises(UsageError) as caught:
        decode({"loss": list(range(1000)), "x" * 100_000: 1})
    assert len(str(caught.value)) < 300


KEYS = st.sampled_from([
    "kind", "choice", "uniform", "log_uniform", "integers", "none", "at", "loss", "penalty", "optimizer", "model",
    "learning_rate", "then", "schedule", "peak", "steps", "strength", "beta", "momentum", "nesterov", "convention",
    "batch_size", "epochs", "seed", "bias", "scale", "unit", "initial", "value", "form", "length",
])  # fmt: skip
WORDS = st.sampled_from([
    *(kind for role in ("model", "loss", "penalty", "optimizer", "then") for kind in kinds(role)),
    "full", "none", "steps", "run", "torch", "keras", "inside", "lookahead", "optax", "functions", "given", "optimizer",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.integers(-1, 3) | st.floats() | st.text(max_size=3) | WORDS
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def outcome(read, source):
    """What a reader makes of a source: a recipe that can be written again, or its UsageError's text."""
    try:
        recipe = read(source)
    except UsageError as error:
        return str(error)
    assert decode(encode(recipe)) == recipe
    return recipe


@given(st.dictionaries(KEYS, TREES, max_size=5) | TREES)
@settings(max_examples=400)
def test_any_tree_is_a_recipe_or_a_usage_error(tree):
    found = outcome(decode, tree)
    if isinstance(found, str):
        found.encode()  # no half of a surrogate pair: the message can be printed


# Built once: building the strategy takes longer than drawing from it.
SPACES = recipes()


@st.composite
def damaged(draw):
    """The encoding of a real space with one value in it replaced: nearly right is what finds gaps."""
    tree = encode(draw(SPACES))
    node = tree
    while True:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
            break
        node = node[key]
    if draw(st.booleans()) and isinstance(node, dict):
        node[draw(KEYS)] = node.pop(key)
    else:
        node[key] = draw(TREES)
    return tree


@given(damaged())
@settings(max_examples=300)
def test_a_damaged_recipe_is_a_recipe_or_a_usage_error(tree):
    found = outcome(read_json, json.dumps(tree))
    assert isinstance(found, Recipe) or re.match(r"recipe[.: ]", found), found


@given(st.text(max_size=60) | st.text("[]{}=\"'\n.#,aekinopst0123456789 ", max_size=60))
@settings(max_examples=300)
def test_any_text_is_a_recipe_or_a_usage_error(text):
    for read in (read_toml, read_json):
        assert outcome(read, text)


def test_numbers_of_other_libraries_are_written_as_they_are():
    for number in (np.float32(0.1), np.float64(0.1), np.int64(2), jnp.asarray(0.1), np.asarray(0.1)):
        (written,) = {encode(penalties.L2(number))["strength"]}
        assert type(written) in (int, float)
        assert written == float(number)  # float32 is written with all the digits of its double
    assert encode(LogUniform(np.float32(0.1), 1))["log_uniform"] == [float(np.float32(0.1)), 1]


def test_python_functions_are_named_but_refused():
    def init(key, input_shape, classes):
        return (), ()

    def apply(params, state, x, *, key, training):
        return x, state

    parts = [
        ("model", Recipe(model=(init, apply))),
        ("optimizer", Recipe(optimizer=optax.sgd(0.1))),
        ("optimizer", Recipe(optimizer=optimizers.Optax(optax.lion, 1e-3, b1=0.9))),
    ]
    for role, recipe in parts:
        text = to_toml(recipe)  # what it was can be told
        with pytest.raises(UsageError, match=rf"recipe\.{role}\.kind is .*which holds Python functions"):
            read_toml(text)
    assert encode(parts[2][1])["optimizer"]["factory"].endswith(":lion")


def test_named_stands_for_a_part_and_refuses_to_work():
    named = Named("optimizer", '{"kind": "optax", "factory": "optax:lion"}')
    recipe = Recipe(optimizer=named)
    assert encode(recipe)["optimizer"] == {"kind": "optax", "factory": "optax:lion"}
    with pytest.raises(UsageError, match=r"the optimizer 'optax' is a name only.*replace\(recipe, optimizer=\.\.\.\)"):
        recipe.optimizer.init({})
    assert jax.tree.leaves(named) == []
    with pytest.raises(UsageError, match="the loss 'mine'"):
        Named("loss", '{"kind": "mine"}')(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32))


def test_flatten_gives_one_row_of_plain_values():
    row = flatten(Recipe(optimizer=optimizers.SGD(schedules.Step(0.1, (3, 6)))))
    assert row["optimizer.learning_rate.initial"] == 0.1
    assert row["optimizer.learning_rate.at.0"] == 3
    assert row["optimizer.kind"] == "sgd"
    assert row["loss.kind"] == "softmax"
    assert all(isinstance(value, (str, int, float, bool)) for value in row.values())


@pytest.mark.parametrize("suffix", [".toml", ".json", ".JSON", ""])
def test_files_there_and_back(tmp_path, suffix):
    recipe = read_toml(DESIGN)
    path = tmp_path / f"recipe{suffix}"
    save_recipe(recipe, path)
    assert load_recipe(path) == recipe
    assert path.read_text().startswith("{") == (suffix.lower() == ".json")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_file_faults_name_the_file(tmp_path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read: .*No such file"):
        load_recipe(missing)
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(tmp_path)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("epoch = 3")
    with pytest.raises(UsageError, match=r"wrong\.toml: recipe\.epoch is not a key"):
        load_recipe(wrong)
    wrong.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"wrong\.toml cannot be read: .*utf-8"):
        load_recipe(wrong)
    with pytest.raises(UsageError, match="cannot be written"):
        save_recipe(Recipe(), tmp_path / "no" / "folder.toml")
    with pytest.raises(UsageError, match="holds Python functions"):
        save_recipe(Recipe(optimizer=optax.sgd(0.1)), tmp_path / "functions.toml")
    assert not (tmp_path / "functions.toml").exists()


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    assert load_recipe(path).epochs == 3


def test_toml_writes_what_toml_can_hold():
    recipe = Recipe(optimizer=optimizers.SGD(0.1, Choice((None, 0.9))))
    assert 'momentum = { choice = ["none", 0.9] }' in to_toml(recipe)
    assert read_toml(to_toml(recipe)) == recipe
