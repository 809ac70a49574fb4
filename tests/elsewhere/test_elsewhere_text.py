"""Generated code as text: schedules, names from data, refusals."""

from __future__ import annotations

import ast
import builtins
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from elsewhere_cases import CLASSES, EXAMPLES, SHAPE, code_for
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.elsewhere.schedules import rate_functions
from thalweg.elsewhere.script import literal, preprocessing_function
from thalweg.errors import UsageError
from thalweg.models import Convolutional, Dense
from thalweg.optimizers import KFAC, SGD, Adam, Muon, RandomSearch, ScheduleFreeAdamW
from thalweg.recipe import bind
from thalweg.schedules import (
    BatchScaled,
    Constant,
    Cosine,
    CosineRestarts,
    InverseSqrt,
    Linear,
    Scaled,
    Step,
    Warmup,
)

SCHEDULES = [
    Constant(0.3),
    Step(0.1, (2, 5), 0.25),
    Step(0.1, (0.3, 0.5, 0.5), 0.5, unit="run"),
    Cosine(0.1),
    Cosine(0.1, 13, 0.02),
    Cosine(0.1, 3, unit="epochs"),
    Linear(0.1, 0.7, 0.01, unit="run"),
    InverseSqrt(0.2),
    Warmup(0.1, Cosine(0.1), unit="run"),
    Warmup(0, 0.1),
    Warmup(200, Linear(0.1)),
    Warmup(4, Warmup(1, Step(0.1, (10,), 0.5, unit="steps"), unit="epochs")),
    CosineRestarts(0.1, 7),
    CosineRestarts(0.1, 1, 2.0, 0.02, unit="epochs"),
    BatchScaled(Warmup(3, Linear(0.1)), 64),
    Scaled(Cosine(0.1), 0.5),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_rates_equal_the_bound_schedule(schedule: Any, x64: None) -> None:
    """In float64: to 1e-14 of the peak, 50 roundings."""
    recipe = tw.Recipe(optimizer=SGD(schedule), batch_size=13, epochs=10)
    names: dict[str, Any] = {"BATCH": 13, "PER_EPOCH": 5, "STEPS": 50}
    exec("import math\n" + "\n\n".join(rate_functions(schedule)), names)
    found = [names["rate"](step) for step in range(60)]  # and what follows the run
    expected = bind(recipe, EXAMPLES).optimizer.learning_rate(jnp.arange(60))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", ["none", "scale", "center", "standardize"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_preprocessing_equals_ours(kind: str, dtype: Any) -> None:
    """Moments are float64 on both sides, so float32 results differ by a rounding at most. One feature is constant."""
    x = np.random.default_rng(0).uniform(0, 255, (40, 2, 3)).astype(dtype)
    x[:, 0, 0] = 7
    names: dict[str, Any] = {"np": np}
    exec(preprocessing_function(kind, uint8=dtype == np.uint8), names)
    found, expected = names["fit_preprocessing"](x)(x), fit_preprocessing(x, kind).transform(x)
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)


HOSTILE = ('"""', "'''\nimport os\nos.abort()", "\\", "{CLASSES}", "«classes»", "\u202e\ud800\x00\r", "a b", "é", "")


@pytest.mark.parametrize("to", ["torch", "optax", "keras"])
def test_class_names_are_literals_and_nothing_else(to: str) -> None:
    plain = ast.parse(code_for(tw.Recipe(), to, classes=[f"class {i}" for i in range(len(HOSTILE))]))
    text = code_for(tw.Recipe(), to, classes=HOSTILE)
    text.encode()  # no lone surrogate in the file
    tree = ast.parse(text)
    place = next(i for i, node in enumerate(tree.body) if isinstance(node, ast.Assign))
    assert ast.literal_eval(tree.body[place].value) == list(HOSTILE)  # type: ignore[attr-defined]
    for one in (tree, plain):
        del one.body[place]
    assert ast.dump(tree) == ast.dump(plain)


@given(st.lists(st.text(st.characters(), max_size=40), max_size=60))
def test_a_literal_is_the_list_itself(names: list[str]) -> None:
    assert ast.literal_eval(literal(tuple(names))) == names


def test_a_script_uses_no_name_that_it_lacks() -> None:
    """Every name that a function reads is defined, imported, or Python's own."""
    network = Convolutional(4, (1, 2), stochastic_depth=0.5, dropout=0.1)
    recipes = [
        tw.Recipe(),
        tw.Recipe(optimizer=Adam(Warmup(3, 0.1)), penalty=tw.penalties.L1(0.1), loss=tw.losses.Hinge(), clip=1.0),
        tw.Recipe(
            model=network, augmentation=tw.augmentation.FlipCrop(crop=1), batch_size=7,
            averaging=tw.averaging.ExponentialAverage(), penalty=tw.penalties.L2(0.1), loss=tw.losses.Softmax(0.1),
        ),
        tw.Recipe(model=Dense((4,), batch_norm=True, dropout=0.2), batch_size="full"),
    ]  # fmt: skip
    for recipe in recipes:
        for to in ("torch", "optax", "keras"):
            tree = ast.parse(code_for(recipe, to, shape=(4, 4, 1), epochs=3))
            nodes = list(ast.walk(tree))
            aliases = [alias for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names]
            imported = {alias.asname or alias.name for alias in aliases}
            known = imported | {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            known |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            known |= {n.arg for n in nodes if isinstance(n, ast.arg)} | set(dir(builtins))
            read = {n.id for n in nodes if isinstance(n, ast.Name)}
            assert read <= known
            imported = {
                a.asname or a.name for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
            }
            assert imported <= read


REFUSED = [
    ("RandomSearch", {"optimizer": RandomSearch()}),
    ("KFAC", {"optimizer": KFAC(0.1), "model": Dense((4,))}),
    ("Muon", {"optimizer": Muon(0.1)}),
    ("ScheduleFreeAdamW", {"optimizer": ScheduleFreeAdamW()}),
    ("Optax", {"optimizer": tw.optimizers.Optax(optax.adam, 0.1)}),
    ("Transformation", {"optimizer": optax.adam(0.1)}),
    ("Functions", {"model": (lambda key, input_shape, classes: 0, lambda params, state, x, *, key, training: 0)}),
    ("features", {"features": "hog"}),
    ("fractional pooling", {"model": Convolutional(2, (1, 1), "fractional")}),
    ("batch|learning_rate", {"optimizer": SGD(tw.log_uniform(1e-3, 1))}),
    ("MySchedule", {"optimizer": "own"}),
]  # fmt: skip


class MySchedule(Constant):
    """A schedule that may compute anything."""


@pytest.mark.parametrize(("part", "parts"), REFUSED, ids=[name for name, _ in REFUSED])
@pytest.mark.parametrize("to", ["torch", "optax", "keras"])
def test_what_cannot_be_written_is_refused_by_name(part: str, parts: dict[str, Any], to: str) -> None:
    if parts == {"optimizer": "own"}:
        parts = {"optimizer": SGD(MySchedule(0.1))}
    shape = (8, 8, 1) if part == "fractional pooling" else SHAPE
    with pytest.raises(UsageError, match=part):
        code_for(tw.Recipe(**parts), to, shape=shape)


def test_other_bad_arguments_are_refused() -> None:
    for options, named in [
        ({"to": "jax"}, "to is 'jax'"),
        ({"preprocessing": "auto"}, "preprocessing"),
        ({"examples": 0}, "examples"),
    ]:
        with pytest.raises(UsageError, match=named):
            tw.elsewhere.code(tw.Recipe(), **({"examples": 3, "shape": SHAPE, "classes": CLASSES} | options))


def test_numbers_of_numpy_and_jax_are_plain_numbers_in_code() -> None:
    plain = code_for(tw.Recipe(optimizer=SGD(0.25), penalty=tw.penalties.L2(0.5)), "torch")
    for number in (np.float32, np.float64, jnp.asarray):
        recipe = tw.Recipe(optimizer=SGD(number(0.25)), penalty=tw.penalties.L2(number(0.5)))
        assert code_for(recipe, "torch") == plain


def test_names_are_no_places_of_the_template():
    """«shape» is a place in our templates; as a class's name it stays one."""
    names = ("«shape»", "«classes»", "b")
    text = tw.elsewhere.code(tw.Recipe(), "torch", examples=10, shape=(4,), classes=names)
    (line,) = [line for line in text.splitlines() if line.startswith("CLASSES = ")]
    assert tuple(ast.literal_eval(line.removeprefix("CLASSES = "))) == names
