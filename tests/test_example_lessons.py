"""The lessons in `examples/`: each runs, at small settings, writes its picture, and finds what its page says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
sys.path.insert(0, str(ROOT / "docs"))

LESSONS = sorted(path.stem for path in (ROOT / "examples").glob("lesson_*.py"))


def run(name: str, folder: Path, **sizes: Any) -> Any:
    """Run a lesson's main function and check that it left a picture wide enough to read."""
    out = folder / f"{name}.png"
    found = importlib.import_module(f"lesson_{name}").main(out, **sizes)
    with Image.open(out) as image:
        assert image.size[0] > 900
    return found


def test_every_lesson_has_its_page_and_its_place_in_the_order() -> None:
    import make_lesson_pictures

    index = (ROOT / "docs/lessons/index.md").read_text(encoding="utf-8")
    order = [f"lesson_{name}" for name in make_lesson_pictures.LESSONS]
    assert sorted(order) == LESSONS
    places = [index.index(f"({name}.md)") for name in make_lesson_pictures.LESSONS]
    assert places == sorted(places)
    for name in make_lesson_pictures.LESSONS:
        page = (ROOT / f"docs/lessons/{name}.md").read_text(encoding="utf-8")
        assert "![" in page
        assert f"({name}.png)" in page
        assert f"python examples/lesson_{name}.py" in page
        assert (ROOT / f"docs/lessons/{name}.png").stat().st_size < 150_000


def test_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("losses", tmp_path, examples=40)
    assert found.three["hinge"] == pytest.approx([2.9, 0])  # max(0, 5.1 − 3.2 + 1) + max(0, −1.7 − 3.2 + 1)
    assert found.three["softmax"] == pytest.approx(
        [np.log(1 + np.exp(1.9) + np.exp(-4.9)), np.log1p(np.exp(-8.1) + np.exp(-14.9))], rel=1e-4
    )
    assert (found.pulls["softmax"] > 0).all()
    silent = found.pulls["hinge"] == 0
    assert silent.mean() > 0.5
    scores = found.models["hinge"].scores(found.points)
    own = scores[np.arange(len(scores)), found.labels]
    other = np.where(np.eye(3, dtype=bool)[found.labels], -np.inf, scores).max(axis=1)
    np.testing.assert_array_equal(silent, own - other >= 1)
    assert f"{tmp_path / 'losses.png'}" in capsys.readouterr().out


def test_penalties(tmp_path: Path) -> None:
    found = run("penalties", tmp_path, count=4, folds=2, lowest=3e-3)
    assert (found.alive["l1"] < found.alive["elastic_net"] + 1e-9).all()
    assert (found.alive["elastic_net"][1:] < found.alive["l2"][1:]).all()
    assert (found.alive["l2"] == 1).all()
    assert found.alive["l1"][0] < 0.05
    assert (np.diff(abs(found.weights["l2"]).sum(axis=(1, 2))) > 0).all()  # weaker penalties, larger weights


def test_gradients(tmp_path: Path) -> None:
    found = run("gradients", tmp_path, steps=16)
    least = {scheme: errors.min() for scheme, errors in found.errors.items()}
    assert least["complex"] < 1e-14 < least["central"] < 1e-8 < least["forward"] < 1e-5
    best = {scheme: found.sizes[errors.argmin()] for scheme, errors in found.errors.items()}
    assert best["forward"] < best["central"]
    assert [verdict.status for verdict in found.verdicts.values()] == ["pass", "fail", "fail", "fail"]
    slip = found.verdicts["one entry off by 0.1 %"]
    assert [entry.index for entry in slip.wrong] == [(1, 7)]
    assert "L2" in found.verdicts["penalty without its 2"].hints[0]


def test_optimizers(tmp_path: Path) -> None:
    found = run("optimizers", tmp_path, steps=40, points=5, epochs=3)
    best = dict(zip(found.names, found.rates[found.best], strict=True))
    assert best["Adam"] <= best["momentum"] <= best["SGD"]
    assert best["RMSProp"] < best["SGD"]
    ends = dict(zip(found.names, found.race.values[:, 0, -1], strict=True))
    assert max(ends["AdaGrad"], ends["RMSProp"]) < 1e-3 * ends["SGD"]  # the valley lies along an axis


def test_schedules(tmp_path: Path) -> None:
    found = run("schedules", tmp_path, epochs=10)
    ends = {name: curve[-1] for name, curve in found.curves.items()}
    assert max(ends, key=lambda name: ends[name]) == "constant"
    assert ends["cosine"] < 0.8 * ends["constant"]
    assert {trial.cohort for trial in found.run.trials} == {0}
    assert found.rates["warm-up, cosine"][0] == 0 < found.rates["warm-up, cosine"][len(found.steps) // 10] == 1.5
    assert np.sum(np.diff(found.rates["warm restarts"]) > 1) == 4


def test_valleys(tmp_path: Path) -> None:
    import lesson_valleys

    found = run("valleys", tmp_path, points=24)
    assert lesson_valleys.slope(found, "gradient descent") == pytest.approx(1, abs=0.05)
    assert lesson_valleys.slope(found, "momentum") == pytest.approx(0.5, abs=0.1)
    descent, _, rmsprop = found.saddle.values[:, 0]
    assert descent.min() > -0.1 > -1 > rmsprop[20]
    assert all((found.basins.reached == k).mean() > 0.1 for k in range(4))


def test_second_order(tmp_path: Path) -> None:
    found = run("second_order", tmp_path, classes=3, descent=400, sizes=(100, 800))

    def steps_to(name: str, above: float) -> float:
        steps, values, _ = found.curves[name]
        return next((step for step, value in zip(steps, values, strict=True) if value - found.lowest < above), np.inf)

    assert steps_to("Newton", 1e-6) < steps_to("L-BFGS", 1e-6) < steps_to("gradient descent", 1e-6)
    newton = np.array(found.curves["Newton"][1])[:5] - found.lowest
    assert newton[4] < 1e-3 * newton[3] or newton[4] < 1e-12  # each step doubles the digits
    # What a machine takes is its own affair: that it was measured for each is not.
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in found.costs.values())


def test_features(tmp_path: Path) -> None:
    digits, tiles = run("features", tmp_path, centroids=12, strengths=3, kinds=("pixels", "colour"))
    assert list(digits.scores) == ["pixels"]
    assert digits.hues is None  # grey images have no colours
    assert digits.scores["pixels"].accuracy > 0.8
    assert tiles.scores["colour"].accuracy > tiles.scores["pixels"].accuracy + 0.05
    assert digits.strokes.shape == (16, 12)
    assert tiles.patches.shape == (12, 6, 6, 3)


def test_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lesson_networks

    monkeypatch.delitem(lesson_networks.LARGE, "batch norm")  # a second program to compile for the same statement
    found: SimpleNamespace = run("networks", tmp_path, epochs=20, large_epochs=12, examples=300)
    for name in ("rings", "xor", "modes"):
        linear, network = (found.fits[model, name].test.accuracy for model in ("linear", "one hidden layer"))
        assert linear < 0.7
        assert network > linear + 0.15
    plain, dropout = found.histories["plain"], found.histories["dropout 0.7"]
    assert plain["data_loss"][-1] < 0.5 * dropout["data_loss"][-1]
    assert plain["validation_loss"][-1] > dropout["validation_loss"][-1]
