"""Race folders read back: saving what was loaded writes the same files."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import thalweg as tw
from thalweg.artifacts.race_folder import ARRAYS, save_race
from thalweg.errors import DataError, UsageError
from thalweg.landscapes import Function, Landscape, Noisy, Quadratic, Race, Rosenbrock
from thalweg.landscapes.known import Sampled, title_of
from thalweg.optimizers import SGD, Adam, Optax
from thalweg.plot.race_panel import backdrop
from thalweg.report.race_html import race_page
from thalweg.saved_race import NamedRacer, load_race
from thalweg.solvers import LBFGS, Newton

PICTURES = importlib.import_module("thalweg.plot.race_pictures")  # the package has a function of that name
SETTINGS = {"seed": 3, "tolerance": 1e-6, "rates": "as given"}


def record_of(landscape: Any, names: tuple[str, ...], starts: int = 1, steps: int = 6) -> Race:
    """A record made by hand: nothing is compiled."""
    rng = np.random.default_rng(0)
    low, high = np.array(landscape.bounds).T
    positions = rng.uniform(low, high, (len(names), starts, steps + 1, 2))
    positions[:, :, 0] = positions[0, :, 0]
    status = rng.integers(0, 2, (len(names), starts))
    return Race(
        landscape=landscape,
        names=names,
        starts=positions[0, :, 0],
        positions=positions,
        values=np.asarray(landscape.value(positions)),
        gradient_norms=np.linalg.norm(landscape.gradient(positions), axis=-1),
        distances=np.full(positions.shape[:-1], np.nan if not landscape.minima else 1.5),
        status=status,
        ended=np.full(status.shape, steps),
        evaluations=np.full(status.shape, steps + 2),
        messages=("one <i>message</i>",),
    )


def bowl(point: Any) -> Any:
    return (point[0] - 0.3) ** 2 + jnp.cosh(point[1])


class Tub(Landscape):
    """A class of one's own, with the name of nothing that is built in."""

    name, bounds, minima = "Tub", ((-2.0, 2.0), (-1.0, 1.0)), ((0.25, 0.0),)

    def formula(self, x: Any, y: Any, xp: Any) -> Any:
        return (x - 0.25) ** 2 + y**4

    def slopes(self, x: Any, y: Any, xp: Any) -> Any:
        return 2 * (x - 0.25), 4 * y**3

    def curvatures(self, x: Any, y: Any, xp: Any) -> Any:
        return 2.0, 0.0, 12 * y**2


RACERS = (
    ("SGD 0.1", SGD(0.1)),
    ("Nesterov 0.03", SGD(tw.schedules.Cosine(0.03), momentum=0.8, nesterov=True)),
    ("Adam 0.2", Adam(0.2, beta1=0.5)),
    ("Newton", Newton(hessian="full")),
    ("L-BFGS", LBFGS(memory=3)),
    ("sgd 0.05", Optax(optax.sgd, 0.05)),
    ("mine", optax.sgd(0.1)),
)
CASES = {
    "quadratic": (Quadratic(100.0, 0.5), 1),
    "noisy": (Noisy(Rosenbrock(2.0, 5.0), 0.25), 3),
    "function": (Function(bowl, name="bowl <b>", minima=[(0.3, 0.0)]), 2),
    "own, noisy": (Noisy(Tub(), 0.5), 1),
}


def seen(record: Race, folder: Path) -> list[Path]:
    """In the pictures' place, which take seconds: what they see of a landscape. Theirs are the same for the same."""
    field, minima = backdrop(record, 0), np.asarray(record.landscape.minima)
    lowest = record.landscape.value(minima).tolist() if len(minima) else []
    told = (title_of(record.landscape), field.name, field.xs.tolist(), field.ys.tolist(), field.values.tolist(), lowest)
    (folder / "seen.json").write_text(json.dumps(told))
    return []


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A folder for each case."""
    names, racers = map(list, zip(*RACERS, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PICTURES, "race_pictures", seen)
        yield {
            case: save_race(
                record_of(landscape, tuple(names), starts), racers, SETTINGS, tmp_path_factory.mktemp("races") / "race"
            )
            for case, (landscape, starts) in CASES.items()
        }


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("case", CASES)
def test_saving_what_was_loaded_writes_the_same_files(case: str, saved: dict[str, Path], tmp_path: Path) -> None:
    again = contents(save_race(*load_race(saved[case]), tmp_path / "again"))
    assert set(again) == {"race.json", "race.npz", "report.html", "seen.json"}
    assert again == contents(saved[case])


def test_what_is_read_is_what_was_saved(saved: dict[str, Path]) -> None:
    race, racers, found = load_race(saved["quadratic"])
    landscape, starts = CASES["quadratic"]
    given_race = record_of(landscape, tuple(name for name, _ in RACERS), starts)
    assert race.landscape == landscape
    assert (race.names, race.messages, found) == (given_race.names, given_race.messages, SETTINGS)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(race, name), getattr(given_race, name))
        assert getattr(race, name).dtype == getattr(given_race, name).dtype
    assert racers[:5] == [racer for _, racer in RACERS[:5]]
    # What was Python code is a name, with its rate where it had one.
    assert [type(racer) for racer in racers[5:]] == [NamedRacer, NamedRacer]
    assert racers[5].learning_rate.base == 0.05
    assert racers[6].learning_rate is None
    assert load_race(saved["noisy"])[0].landscape == Noisy(Rosenbrock(2.0, 5.0), 0.25)


def test_a_function_is_known_by_its_values_alone(saved: dict[str, Path]) -> None:
    race, _, _ = load_race(saved["function"])
    found, f = race.landscape, CASES["function"][0]
    assert isinstance(found, Sampled)
    assert (found.name, found.bounds, found.minima) == (f.name, f.bounds, f.minima)
    grid = np.stack(np.meshgrid(found.xs, found.ys), axis=-1)
    np.testing.assert_array_equal(found.value(grid), f.value(grid))
    np.testing.assert_array_equal(found.value(np.array(f.minima)), f.value(np.array(f.minima)))
    # Between the lines it is bilinear: the error is at most (h²/8)(2 + cosh 5), with h = 0.1.
    points = np.random.default_rng(1).uniform(-5, 5, (50, 2))
    np.testing.assert_allclose(found.value(points), f.value(points), rtol=0, atol=0.1**2 / 8 * (2 + np.cosh(5)))
    assert np.isnan(found.value([5.1, 0.0]))
    with pytest.raises(UsageError, match="no finite value and gradient on bowl"):
        tw.race(found, [SGD(0.1)])


def test_a_start_beyond_the_kept_values_is_told(saved: dict[str, Path]) -> None:
    race, _, _ = load_race(saved["function"])
    race.positions[0, 1, 0] = (6.0, 0.0)
    assert "bowl" in race_page(race, start=0)
    with pytest.raises(DataError, match=r"start 1, \(6, 0\), lies outside the values .* run the race again in Python"):
        race_page(race, start=1)


def test_titles_have_the_parameters() -> None:
    assert title_of(Quadratic(100.0)) == "Quadratic, condition = 100, angle = 0"
    assert title_of(Noisy(Quadratic(2.0), 0.5)) == "Quadratic, condition = 2, angle = 0, gradient noise 0.5"
    assert title_of(Function(bowl)) == "bowl"


def changed(folder: Path, to: Path, **changes: Any) -> Path:
    shutil.copytree(folder, to)
    record = json.loads((to / "race.json").read_text())
    (to / "race.json").write_text(json.dumps({**record, **changes}))
    return to


def test_folders_that_cannot_be_read(saved: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no race folder: there is no race\.json in it; give what --out named"):
        load_race(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="it is a run's: load_run reads it"):
        load_race(tmp_path)
    with pytest.raises(DataError, match="has format 2, this version reads 1; use the version that wrote it"):
        load_race(changed(saved["quadratic"], tmp_path / "new", format=2))
    old = changed(saved["quadratic"], tmp_path / "old", format=None)
    with pytest.raises(DataError, match="written before race folders could be read back; run the race again"):
        load_race(old)
    for key, value in {
        "landscape": {"kind": "Quadratic", "name": "Quadratic", "condition": 0.5},
        "steps": 7,
        "racers": [],
        "messages": [1],
    }.items():
        with pytest.raises(DataError, match=r"is damaged \(.*\); run the race again"):
            load_race(changed(saved["quadratic"], tmp_path / key, **{key: value}))
    record = json.loads((saved["quadratic"] / "race.json").read_text())
    record["racers"][0]["optimizer"]["momentum"] = 5
    with pytest.raises(DataError, match="momentum is 5"):
        load_race(changed(saved["quadratic"], tmp_path / "momentum", racers=record["racers"]))


def test_a_function_without_its_values_is_told(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(saved["function"], tmp_path / "bare")
    with np.load(folder / "race.npz") as file:
        np.savez_compressed(folder / "race.npz", **{name: file[name] for name in ARRAYS})
    with pytest.raises(DataError, match=r"a function that no file can hold, and race\.npz lacks its values"):
        load_race(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["race.json", "race.npz"]), data=st.data())
def test_damage_is_a_data_error_or_harmless(
    name: str, data: st.DataObject, saved: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray((saved["function"] / name).read_bytes())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("damaged")
    for other in ("race.json", "race.npz"):
        os.link(saved["function"] / other, folder / other)
    (folder / name).unlink()
    (folder / name).write_bytes(whole)
    with contextlib.suppress(DataError):
        race, racers, found = load_race(folder)
        assert race_page(race, racers=racers, settings=found)


def test_a_setting_may_not_hide_what_the_race_tells(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="settings holds 'steps'"):
        save_race(record_of(Quadratic(), ("SGD 0.1",)), [SGD(0.1)], {"steps": 1}, tmp_path / "race")
    assert not (tmp_path / "race").exists()
