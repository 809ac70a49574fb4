"""Curvature and trajectory in a report: measured from a case's own data, or left out with the reason, and drawn."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from report_cases import made_run
from scipy.special import log_softmax

import thalweg as tw
from thalweg.diagnostics import Case, Curvature, PlaneRecord, make_case, trajectory
from thalweg.diagnostics.curvature_record import Eigenpair
from thalweg.diagnostics.subject import Subject, subject
from thalweg.errors import DataError, UsageError
from thalweg.report.block import Lacking, Note, Picture
from thalweg.report.records import winner_curvature as module
from thalweg.report.records.winner_curvature import WinnerRates, winner_curvature, winner_rates
from thalweg.report.sections.curvature import curvature_section
from thalweg.run import Run


def blobs() -> dict[str, np.ndarray]:
    """Three overlapping classes: 128 examples, whose own test split keeps all others to train on."""
    generator = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [64, 40, 24])
    X = generator.normal(size=(3, 4))[y] + generator.normal(size=(128, 4))
    return {"X_train": X.astype(np.float32), "y_train": y, "X_test": X[::4].astype(np.float32), "y_test": y[::4]}


RECIPE = tw.Recipe(penalty=tw.penalties.L2(1e-3), optimizer=tw.optimizers.SGD(0.5), batch_size=32, epochs=4)


@pytest.fixture(scope="module")
def run() -> Run:
    return tw.fit(RECIPE, blobs(), refit=True)


@pytest.fixture(scope="module")
def case(run: Run) -> Case:
    return make_case(run, blobs())


@pytest.fixture(scope="module")
def measured(case: Case) -> tuple[Curvature, PlaneRecord]:
    found = winner_curvature(case)
    assert isinstance(found[0], Curvature)
    assert isinstance(found[1], PlaneRecord)
    return found  # type: ignore[return-value]


# -- the record -------------------------------------------------------------------------------------------------------


def objective(model: tw.FittedModel, split: tw.data.Split) -> float:
    """Softmax loss and L2 penalty in float64."""
    x = model.preprocessing.transform(split.features).astype(np.float64)
    log_p = log_softmax(x @ model.params["weight"].T + model.params["bias"], axis=1)
    return float(-log_p[np.arange(len(split)), split.labels].mean() + 1e-3 * np.sum(np.square(model.params["weight"])))


def test_a_case_gives_what_its_run_gives(run: Run, case: Case, measured: tuple[Curvature, PlaneRecord]) -> None:
    mine, theirs = subject(case, None), subject(run, blobs())
    np.testing.assert_array_equal(mine.split.features, theirs.split.features)
    assert len(mine.split) == 128  # refitted on training + validation
    assert mine.epochs == theirs.epochs == 4
    found, plane = measured
    assert found.examples == 128
    assert run.model is not None
    assert found.value == pytest.approx(objective(run.model, mine.split), rel=1e-6)
    assert len(plane.path) == 5
    assert plane.path_values[-1] == pytest.approx(found.value, rel=1e-5)


def test_a_case_brings_its_own_data(case: Case) -> None:
    with pytest.raises(UsageError, match="holds its examples"):
        subject(case, blobs())
    with pytest.raises(DataError, match="the data was not given"):
        subject(dataclasses.replace(case, data=None), None)
    with pytest.raises(UsageError, match="only those of the selected trial"):
        subject(dataclasses.replace(case, trial=dataclasses.replace(case.trial, number=1)), None)  # type: ignore[type-var]


def test_work_is_examples_times_weights_for_a_linear_model(case: Case) -> None:
    seen = subject(case, None)
    assert seen.work == len(seen.split) * 15
    # A filter's weights are used at many places: what counts is the products, three times (1, 4) by (4, 4) here.
    filters = SimpleNamespace(apply=lambda params, state, x, **_: (x @ params @ params @ params, state))
    model: Any = SimpleNamespace(
        recipe=SimpleNamespace(model=filters), params=np.eye(4, dtype=np.float32), model_state={}
    )
    assert Subject(model, seen.split).work == len(seen.split) * 48


def test_what_takes_long_is_left_out_unless_asked_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG", 100.0)
    for found in winner_curvature(case):
        assert isinstance(found, Lacking)
        assert "thalweg report RUN --curvature" in found.why
        assert "15 multiplications" in found.why
    calls: list[Any] = []
    monkeypatch.setattr(module, "curvature", lambda *a: calls.append("curvature") or Lacking("made"))
    monkeypatch.setattr(module, "plane", lambda way: calls.append("plane") or Lacking("made"))
    monkeypatch.setattr(module, "trajectory", lambda *a: None)
    assert winner_curvature(case, always=True) == (Lacking("made"), Lacking("made"))
    assert calls == ["curvature", "plane"]


def test_what_cannot_be_had_says_why(case: Case, run: Run) -> None:
    def whys(one: Case) -> list[str]:
        found = winner_curvature(one)
        assert all(isinstance(part, Lacking) for part in found)
        return [part.why for part in found if isinstance(part, Lacking)]

    assert all("the data was not given" in why for why in whys(dataclasses.replace(case, data=None)))
    assert all("nothing was selected" in why for why in whys(make_case(dataclasses.replace(run, model=None), None)))
    other = dataclasses.replace(case, trial=dataclasses.replace(case.trial, number=1))  # type: ignore[type-var]
    assert all("weights of this trial are not kept" in why for why in whys(other))


def with_recipe(case: Case, **changes: Any) -> Case:
    assert isinstance(case.run, Run)
    model = case.run.model
    assert model is not None
    recipe = dataclasses.replace(model.recipe, **changes)
    return dataclasses.replace(case, run=dataclasses.replace(case.run, model=dataclasses.replace(model, recipe=recipe)))


def test_a_hinge_has_no_curvature_and_random_search_no_way(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plane", lambda way: way)
    monkeypatch.setattr(module, "trajectory", lambda seen, data: seen)
    bent, way = winner_curvature(with_recipe(case, loss=tw.losses.Hinge()))
    assert isinstance(bent, Lacking)
    assert "Hinge is made of straight pieces" in bent.why
    assert not isinstance(way, Lacking)
    monkeypatch.undo()
    monkeypatch.setattr(module, "curvature", lambda *a: "measured")
    bent, way = winner_curvature(with_recipe(case, optimizer=tw.optimizers.RandomSearch()))
    assert bent == "measured"  # type: ignore[comparison-overlap]
    assert isinstance(way, Lacking)
    assert "random search jumps" in way.why


def test_a_paths_optimum_has_a_small_slope_in_its_own_weighting() -> None:
    path = tw.path(blobs(), strengths=[1e-2], folds=0, class_weight="balanced", tolerance=1e-8)
    case = make_case(path, blobs())
    found, way = winner_curvature(case)
    assert isinstance(found, Curvature)
    assert found.value == pytest.approx(path.solutions[0].value, rel=1e-6)  # class weights and penalty counted
    assert found.critical
    assert isinstance(way, Lacking)
    assert "A path has no trajectory" in way.why
    with pytest.raises(UsageError, match="takes no way"):
        trajectory(case, None)


def test_the_rates_around_the_selected_trial() -> None:
    made = made_run(16, diverged=3, optimizers=("nesterov",), epochs=2)
    rates = winner_rates(made)
    assert rates is not None
    bases = {status: [float(t.recipe.optimizer.learning_rate.base) for t in made.trials if t.status.name == status]
             for status in ("diverged", "completed")}  # fmt: skip
    assert rates.least_diverged == min(bases["diverged"])
    assert rates.largest_settled == max(bases["completed"])
    assert rates.theory
    assert (rates.momentum, rates.nesterov) == (0.9, True)
    record = made_curvature()
    assert rates.limit(record) == pytest.approx(record.stable_rate(0.9, nesterov=True))
    adam = winner_rates(made_run(4, diverged=0, epochs=2))
    assert adam is not None
    assert not adam.theory
    assert adam.least_diverged is None
    nothing = winner_rates(made_run(2, diverged=2, epochs=2))
    assert nothing is None


# -- the section ------------------------------------------------------------------------------------------------------


def made_curvature(largest: float = 4.0, least: float = 1e-3, **changes: Any) -> Curvature:
    grid = np.linspace(-1, 5, 512)
    density = np.exp(-np.square(grid - 1) * 50)
    ends = [Eigenpair(value, 1e-5, True, None) for value in (largest, least)]
    record = Curvature(
        parameters=15, examples=160, value=0.7, gradient_norm=1e-6, largest=ends[0], least=ends[1], floor=1e-5,
        trace=9.0, trace_error=0.1, condition=4000.0, condition_exact=True, flat_share=0.1, products=30,
        broadening=0.05, grid=grid, density=density, nodes=np.ones((1, 2)), node_weights=np.full((1, 2), 0.5),
    )  # fmt: skip
    return dataclasses.replace(record, **changes)


def made_plane(values: np.ndarray | None = None, epochs: int = 6) -> PlaneRecord:
    xs, ys = np.linspace(-1, 3, 41), np.linspace(-2, 2, 41)
    bowl = np.square(xs)[None] + np.square(ys)[:, None] + 0.1
    path = np.stack([np.linspace(2, 0, epochs + 1), np.linspace(1, 0, epochs + 1) ** 2], axis=1)
    at = np.sum(path**2, axis=1) + 0.1
    return PlaneRecord(
        xs, ys, bowl if values is None else values, path, at, at, np.linspace(0.3, 0, epochs + 1),
        np.array([0.9, 0.08]), np.eye(2), 160,
    )  # fmt: skip


LACKING = Lacking("not here")
RATES = WinnerRates("SGD", 0.1, 0.0, False, 0.0, True, 3.0, 0.4)


def pictures(*records: Any) -> dict[str, Picture]:
    found = {one.title: one for one in curvature_section(*records).parts if isinstance(one, Picture)}
    for one in found.values():
        ElementTree.fromstring(f"<div>{one.drawing}</div>")  # well-formed
    return found


def test_numbers_stand_in_tiles_and_sentences() -> None:
    section = curvature_section(made_curvature(), LACKING, RATES)
    tiles = section.parts[0]
    assert isinstance(tiles, list)
    assert [(one.name, one.value) for one in tiles] == [
        ("Kind of point", "minimum"), ("Largest eigenvalue λmax", "4"), ("Least eigenvalue λmin", "0.001"),
        ("Condition number", "4e+03"), ("Limit of the rate 2/λmax", "0.5"),
    ]  # fmt: skip
    assert section.parts[-1] is LACKING
    assert not any(isinstance(part, Note) for part in section.parts)
    rates = pictures(made_curvature(), LACKING, RATES)["The limit of stability and the rates"]
    assert "beyond a rate of 0.5" in rates.summary
    assert "0.2 of it" in rates.summary
    assert "smallest rate that diverged is 3." in rates.summary
    assert "scales its steps" not in rates.summary
    adam = dataclasses.replace(RATES, optimizer="Adam", theory=False, least_diverged=None, largest_settled=2.0)
    other = pictures(made_curvature(), LACKING, adam)["The limit of stability and the rates"].summary
    assert "No trial of this optimizer diverged." in other
    assert "A rate of 2 trained to an end all the same" in other
    assert "Adam scales its steps" in other
    on_the_way = curvature_section(made_curvature(gradient_norm=0.3), LACKING)
    assert any(isinstance(part, Note) and "0.3" in part.text for part in on_the_way.parts)


@pytest.mark.parametrize(
    ("changes", "formula", "limit", "about"),
    [
        ({}, "2/λmax", 2 / 4, ""),
        ({"nesterov": True}, "2/λmax", 2 / 4, ""),  # without momentum it is plain
        ({"decay": 0.5}, "2/(λmax + decay)", 2 / 4.5, "; decay = 0.5"),
        ({"momentum": 0.9}, "2(1 + ρ)/λmax", 3.8 / 4, "; ρ = 0.9"),
        ({"momentum": 0.9, "decay": 0.5}, "2(1 + ρ)/(λmax + decay)", 3.8 / 4.5, "; ρ = 0.9, decay = 0.5"),
        ({"momentum": 0.9, "nesterov": True}, "2(1 + ρ)/((1 + 2ρ)λmax)", 3.8 / (2.8 * 4), "; ρ = 0.9"),
        ({"momentum": 0.9, "nesterov": True, "decay": 0.5}, "2(1 + ρ)/((1 + 2ρ)(λmax + decay))", 3.8 / (2.8 * 4.5),
         "; ρ = 0.9, decay = 0.5"),
    ],
)  # fmt: skip
def test_the_formula_shown_is_the_one_computed(changes: dict[str, Any], formula: str, limit: float, about: str) -> None:
    rates = dataclasses.replace(RATES, **changes)
    tiles = curvature_section(made_curvature(), LACKING, rates).parts[0]
    assert isinstance(tiles, list)
    assert (tiles[-1].name, tiles[-1].about) == (
        f"Limit of the rate {formula}", f"for gradient descent at a fixed rate{about}",
    )  # fmt: skip
    assert rates.limit(made_curvature()) == pytest.approx(limit)
    assert tiles[-1].value == f"{limit:.3g}"


@pytest.mark.parametrize(
    ("ends", "verdict"), [((4.0, -0.5), "saddle"), ((-1.0, -4.0), "maximum"), ((4.0, 1e-9), "flat to rounding")]
)
def test_every_kind_of_point_is_named(ends: tuple[float, float], verdict: str) -> None:
    record = made_curvature(*ends, condition=math.nan, trace_error=math.nan, notes=("a note",))
    tiles = curvature_section(record, LACKING).parts[0]
    assert isinstance(tiles, list)
    assert tiles[0].value == verdict
    assert tiles[3].value == "not known"
    assert len(tiles) == (4 if verdict == "maximum" else 5)  # where nothing bends upwards no rate is too high
    assert tiles[2].value == ("0" if verdict == "flat to rounding" else f"{ends[1]:.3g}")
    assert "Note: a note." in pictures(record, LACKING)["Spectrum of the Hessian"].summary


def test_the_spectrum_keeps_its_highest_place() -> None:
    spike = np.full(512, 1e-9)
    spike[201] = 50.0
    found = pictures(made_curvature(density=spike), LACKING)["Spectrum of the Hessian"]
    tree = ElementTree.fromstring(f"<div>{found.drawing}</div>")
    (line,) = [p for p in tree.iter("path") if (p.get("class") or "").startswith("line")]
    heights = np.array((line.get("d") or "").replace("M", "").split(), int).reshape(-1, 2)[:, 1]
    # The axis runs six decades below the highest density and a factor 4 above it: 0.6 of 6.6 decades are left.
    assert heights.min() == pytest.approx(2200 * math.log10(4) / math.log10(4e6), abs=2)


def test_the_plane_is_shaded_by_levels_with_the_way_over_it() -> None:
    found = pictures(LACKING, made_plane())["The objective around the way of training"]
    tree = ElementTree.fromstring(f"<div>{found.drawing}</div>")
    shades = [p.get("class") for p in tree.iter("path") if (p.get("class") or "").startswith("cell")]
    assert shades == [f"cell h{i}" for i in range(7)]
    paths = [p.get("class") or "" for p in tree.iter("path")]
    assert paths.index("line ink d0 thick") == len(paths) - 1  # over all shades
    dots = [use for use in tree.iter("use") if "after epoch" in (use.get("data-tip") or "")]
    assert len(dots) == 7
    assert "90 % along the first axis and 8 % along the second" in found.summary
    assert "from 5.1 to 0.1 in 6 epochs" in found.summary
    assert found.table is not None
    assert len(found.table.rows) == 7


def test_a_shade_covers_where_the_objective_is_above_its_level() -> None:
    found = pictures(LACKING, made_plane())["The objective around the way of training"]
    tree = ElementTree.fromstring(f"<div>{found.drawing}</div>")
    (darkest,) = [p for p in tree.iter("path") if p.get("class") == "cell h6"]
    corners = np.array((darkest.get("d") or "").replace("M", " ").replace("Z", " ").split(), int).reshape(-1, 2)
    x, y = -1 + corners[:, 0] / 10_000 * 4, 2 - corners[:, 1] / 3200 * 4
    level = 0.1 * (13.1 / 0.1) ** (6 / 7)  # by factors, since the values span more than ten
    assert (x**2 + y**2 + 0.1 >= level * 0.97).all()
    assert x.max() == pytest.approx(3)


def test_planes_with_holes_or_without_slope() -> None:
    values = made_plane().values.copy()
    values[:5, :7] = math.nan
    values[30:, 30:] = math.inf
    assert "cell h6" in pictures(LACKING, made_plane(values))["The objective around the way of training"].drawing
    flat = pictures(LACKING, made_plane(np.ones((41, 41))))["The objective around the way of training"]
    assert "cell h1" not in flat.drawing
    assert "shades grow darker" not in flat.summary
    lost = pictures(LACKING, made_plane(np.full((41, 41), math.nan)))
    assert "shades grow darker" not in lost["The objective around the way of training"].summary
    long = pictures(LACKING, made_plane(epochs=500))["The objective around the way of training"]
    assert long.drawing.count("after epoch") <= 62
    assert "after some of the epochs" in long.drawing


def test_the_real_thing_is_drawn(measured: tuple[Curvature, PlaneRecord], run: Run) -> None:
    found = pictures(*measured, winner_rates(run))
    assert len(found) == 3
    assert sum(len(one.drawing) for one in found.values()) < 60_000
