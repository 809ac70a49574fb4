"""The code of a run: in its folder, on the command line, and true to the run's own model."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from elsewhere_cases import as_users_do, executed

import thalweg as tw
from thalweg.cli.app import run as thalweg
from thalweg.data.splits import join, split_dataset
from thalweg.elsewhere import logistic_regression
from thalweg.losses import Hinge, Softmax
from thalweg.optimizers import Adam, RandomSearch
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty
from thalweg.schedules import Cosine

NAMES = np.array(["ant", '"""\nboom', "cat"])


def problem(classes: int = 3) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    y = np.arange(120) % classes
    x = (generator.normal(size=(classes, 4))[y] + generator.normal(size=(120, 4))).astype(np.float32)
    return {"X_train": x[:90], "y_train": NAMES[y[:90]], "X_test": x[90:], "y_test": NAMES[y[90:]]}


RECIPE = tw.Recipe(optimizer=Adam(Cosine(0.05)), penalty=L2(1e-3), batch_size=16, epochs=4)


@pytest.fixture(scope="module")
def run() -> tw.Run:
    return tw.sweep(RECIPE, problem(), trials=1, patience=3)


@pytest.fixture(scope="module")
def folder(run: tw.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.save(tmp_path_factory.mktemp("elsewhere") / "run")


def test_the_folder_has_code_and_the_command_prints_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(path.name for path in (folder / "code").iterdir()) == [
        "train_keras.py", "train_optax.py", "train_torch.py",
    ]  # fmt: skip
    for to in ("keras", "optax", "torch"):
        assert thalweg(["info", str(folder), "--code", to]) == 0
        out, err = capsys.readouterr()
        assert out == (folder / "code" / f"train_{to}.py").read_text(encoding="utf-8")
        assert err == ""
        imports = [node for node in ast.walk(ast.parse(out)) if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {getattr(node, "module", None) or node.names[0].name for node in imports}
        # A file of a module's name beside the script would be imported in its place.
        assert not {path.stem for path in (folder / "code").iterdir()} & modules


def test_the_script_gives_the_model_of_the_run(run: tw.Run, folder: Path) -> None:
    """Refitted on training and validation examples, for the epochs that were kept: weights equal to rounding."""
    names = executed((folder / "code" / "train_optax.py").read_text(encoding="utf-8"))
    data = split_dataset(tw.load(problem()), validation=None, test=None, seed=0)
    joined = join(data.train, data.validation)
    with as_users_do():
        ((params, _), prepare) = names["train"](joined.features, joined.labels)
        labels = names["predict"]((params, {}), prepare(problem()["X_test"]))
    assert run.refitted
    np.testing.assert_allclose(params["weight"], run.model.params["weight"], atol=1e-5)
    np.testing.assert_array_equal(np.array(names["CLASSES"])[labels], run.model.predict(problem()["X_test"]))


def test_fewer_epochs_that_were_kept_leave_the_schedule_as_it_is(run: tw.Run, folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["best"]["kept_epoch"] = 3
    names = executed(tw.elsewhere.code_of_run(record, run.model, "torch"))
    assert len(list(names["batches"]())) == 3 * names["PER_EPOCH"]
    assert names["STEPS"] == 4 * names["PER_EPOCH"]
    record["best"]["refitted"] = False
    assert executed(tw.elsewhere.code_of_run(record, run.model, "torch"))["EXAMPLES"] == 72


def test_what_cannot_be_written_is_a_comment_in_the_folder(
    run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched = dataclasses.replace(run.model.recipe, optimizer=RandomSearch())
    other = dataclasses.replace(run, model=dataclasses.replace(run.model, recipe=searched))
    other.save(tmp_path / "run")
    for name in ("torch", "optax", "keras"):
        text = (tmp_path / "run" / "code" / f"train_{name}.py").read_text(encoding="utf-8")
        assert "RandomSearch" in text
        assert all(line.startswith("# ") for line in text.splitlines())
    assert thalweg(["info", str(tmp_path / "run"), "--code", "torch"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "RandomSearch" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--code", "sklearn"], "minibatch"),
        (["--code", "torch", "--json"], "leave --json"),
        (["--code", "torch", "--templates", "a.png"], "leave --json and --templates"),
    ],
)
def test_what_the_command_refuses(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert thalweg(["info", str(folder), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_command_needs_a_whole_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert thalweg(["info", str(folder / "model.safetensors"), "--code", "torch"]) == 2
    assert "no run folder" in capsys.readouterr().err
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    for damage in ("[]", '{"best": {}}', "{"):
        (tmp_path / "run.json").write_text(damage)
        assert thalweg(["info", str(tmp_path), "--code", "torch"]) == 3
        assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("penalty", "class_weight"),
    [(L2(0.02), "none"), (L2(0.02), "balanced"), (L1(0.02), "none"), (ElasticNet(0.02, 0.3), "none")],
    ids=repr,
)
def test_scikit_learns_optimum_is_ours(penalty: Any, class_weight: str, classes: int, x64: None) -> None:
    """At an optimum the distance of −gradient to the penalty's subdifferential is 0. Of gradients of size 0.1,
    solvers that stop at 1e-8 leave 1e-5 at most."""
    data = problem(classes)
    text = logistic_regression(
        Softmax(), penalty, examples=90, classes=tuple(NAMES[:classes]), class_weight=class_weight
    )
    names = executed(text)
    labels = np.array([names["CLASSES"].index(name) for name in data["y_train"]])
    labels[:10] = 0  # uneven, so that balancing tells
    x = names["fit_preprocessing"](data["X_train"])(data["X_train"]).astype(np.float64)
    model = names["make_model"]().fit(x, labels)
    weight, bias = model.coef_, model.intercept_
    if classes == 2:
        weight, bias = np.stack([-weight[0], weight[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    scores = np.exp(x @ weight.T + bias)
    own = np.eye(classes)[labels]
    each = np.ones(90) if class_weight == "none" else 90 / classes / own.sum(0)[labels]
    slope = (scores / scores.sum(1)[:, None] - own) * each[:, None] / each.sum()
    assert np.abs(np.asarray(penalty.residual(jnp.asarray(weight), jnp.asarray(slope.T @ x)))).max() < 1e-5
    assert np.abs(slope.sum(0)).max() < 1e-5
    assert np.abs(weight).max() > 0.05


def test_the_code_of_a_path(run: tw.Run, folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text()) | {"kind": "path", "best": None}
    record["settings"]["example_weights"] = False
    record["path"] = [{"class_weight": "balanced"}]
    text = tw.elsewhere.code_of_run(record, run.model, "sklearn")
    model = executed(text)["make_model"]()
    assert model.class_weight == "balanced"
    assert pytest.approx(1 / (2 * 1e-3 * record["data"]["examples"]["train"])) == model.C
    assert ast.literal_eval(text.split("CLASSES = ")[1].split("\n")[0]) == list(run.model.classes)


@pytest.mark.parametrize("to", ["torch", "sklearn"])
def test_a_script_runs_on_a_file_of_images(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {name: x.reshape(-1, 2, 2, 1) if name[0] == "X" else x == "cat" for name, x in problem().items()}
    np.savez(tmp_path / "data.npz", **data)
    monkeypatch.setattr("sys.argv", ["train.py", str(tmp_path / "data.npz")])
    if to == "torch":
        pytest.importorskip("torch")
        text = tw.elsewhere.code(RECIPE, to, examples=90, shape=(2, 2, 1), classes=("a", "b"), preprocessing="center")
    else:
        text = logistic_regression(Softmax(), L2(1e-3), examples=90, classes=("a", "b"), preprocessing="center")
    exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})
    label, accuracy = capsys.readouterr().out.rsplit(" ", 1)
    assert label == "test accuracy"
    assert 0.6 < float(accuracy) <= 1


def test_a_path_is_scikit_learns_business(run: tw.Run, folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text()) | {"kind": "path"}
    with pytest.raises(tw.UsageError, match="take --code sklearn"):
        tw.elsewhere.code_of_run(record, run.model, "torch")
    record["settings"]["example_weights"] = True
    with pytest.raises(tw.UsageError, match="weighs its examples"):
        tw.elsewhere.code_of_run(record, run.model, "sklearn")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"penalty": L2(0.0)}, "strength 0"),
        ({"penalty": NoPenalty()}, "strength 0"),
        ({"class_weight": "ant: 2, cat: 1"}, "class weights"),
        ({"loss": Softmax(0.1)}, "loss"),
        ({"loss": Hinge()}, "loss Hinge"),
    ],
)
def test_optima_that_scikit_learn_cannot_state(parts: dict[str, Any], said: str) -> None:
    given = {"loss": Softmax(), "penalty": L2(0.1), "examples": 9, "classes": ("a", "b")} | parts
    with pytest.raises(tw.UsageError, match=said):
        logistic_regression(**given)
