"""Figures of races: what they hold, that they stay within their frames, and errors in words."""

from __future__ import annotations

import dataclasses
import itertools
from io import BytesIO
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageSequence

from thalweg.errors import UsageError
from thalweg.landscapes import Function, Himmelblau, Landscape, Noisy, Quadratic, Saddle
from thalweg.landscapes.records import BasinMap, Race, StabilityMap
from thalweg.plot.basin_figure import basins
from thalweg.plot.race_animation import race_animation
from thalweg.plot.race_curves import race_curves
from thalweg.plot.race_figure import race, race_story
from thalweg.plot.race_panel import last_step, look, track
from thalweg.plot.race_pictures import race_pictures
from thalweg.plot.stability_figure import stability
from thalweg.plot.theme import themed


def descent(
    landscape: Landscape,
    rates: dict[str, float],
    starts: Any = ((-2.5, 1.0),),
    steps: int = 30,
    tolerance: float = 1e-6,
) -> Race:
    """Gradient descent from some starts, a racer a rate, with the records' conventions."""
    begin = np.asarray(starts, np.float64)
    positions = np.empty((len(rates), len(begin), steps + 1, 2))
    status, ended = np.zeros(positions.shape[:2], int), np.full(positions.shape[:2], steps)
    for racer, rate in enumerate(rates.values()):
        for place, start in enumerate(begin):
            point = start
            positions[racer, place] = start
            for step in range(1, steps + 1):
                point = point - rate * np.asarray(landscape.gradient(point))
                positions[racer, place, step:] = point
                lost, there = np.abs(point).max() > 1e3, np.linalg.norm(landscape.gradient(point)) < tolerance
                if lost or there:
                    status[racer, place], ended[racer, place] = (2 if lost else 1), step
                    break
    away = [np.linalg.norm(positions - np.asarray(m), axis=-1) for m in landscape.minima]
    return Race(
        landscape=landscape,
        names=tuple(rates),
        starts=begin,
        positions=positions,
        values=np.asarray(landscape.value(positions)),
        gradient_norms=np.linalg.norm(landscape.gradient(positions), axis=-1),
        distances=np.min(away, axis=0) if away else np.full(positions.shape[:-1], np.nan),
        status=status,
        ended=ended,
        evaluations=ended,
    )


BOWL = descent(Quadratic(), {"steady": 0.1, "too far": 0.25, "timid": 0.001}, ((-2.5, 1.0), (1.0, -2.0)))


def png_of(figure: Figure, dots: int = 40) -> np.ndarray:
    out = BytesIO()
    figure.savefig(out, dpi=dots)
    return np.asarray(Image.open(out).convert("RGB"))


def texts_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def panels_of(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_title()]


# --- tracks ---


def test_a_way_that_diverges_is_cut_at_the_frame() -> None:
    frame = ((-3.0, 3.0), (-3.0, 3.0))
    way = track(BOWL, 1, 0, frame)
    assert way.fate == "diverged"
    assert way.outside
    # The rate 0.25 turns y into −1.5 y: 1, −1.5, 2.25, −3.375, which is below the frame.
    np.testing.assert_allclose(way.points[:3], BOWL.positions[1, 0, :3])
    x0, x1 = BOWL.positions[1, 0, 2:4, 0]
    share = (2.25 + 3) / (2.25 + 3.375)
    np.testing.assert_allclose(way.end, (x0 + share * (x1 - x0), -3.0))
    np.testing.assert_array_equal(way.points[-1], way.end)
    assert len(way.points) == 4


def test_the_cut_step_of_one_that_diverged_is_left_out() -> None:
    positions = BOWL.positions.copy()
    positions[1, 0, BOWL.ended[1, 0] :] = (0.5, 0.5)  # cut short on its way to the other side
    record = dataclasses.replace(BOWL, positions=positions)
    assert last_step(record, 1, 0) == BOWL.ended[1, 0] - 1
    assert last_step(record, 0, 0) == 30
    np.testing.assert_allclose(track(record, 1, 0, ((-3.0, 3.0), (-3.0, 3.0))).end[1], -3)
    first = descent(Quadratic(), {"at once": 1e4})
    assert last_step(first, 0, 0) == 1  # a first step is all there is to see


def test_a_way_that_comes_back_is_whole() -> None:
    positions = np.array([[0.0, 0.0], [5.0, 0.0], [0.5, 0.5], [1e300, 0.0], [0.2, 0.1]])
    record = dataclasses.replace(
        descent(Quadratic(), {"a": 0.1}, ((0.0, 0.0),), steps=4, tolerance=-1),
        positions=positions[None, None],
    )
    way = track(record, 0, 0, ((-1.0, 1.0), (-1.0, 1.0)))
    assert not way.outside
    assert len(way.points) == 5
    np.testing.assert_array_equal(way.points[[0, 1, 2, 4]], positions[[0, 1, 2, 4]])
    assert np.abs(way.points).max() < 1e3  # what lies at 1e300 is drawn as if near


@pytest.mark.parametrize("end", [(4.0, 0.0), (0.0, -7.0), (9.0, 9.0)])
def test_the_crossing_lies_on_the_frame_and_on_the_step(end: tuple[float, float]) -> None:
    positions = np.array([[0.1, 0.2], end])[None, None]
    record = dataclasses.replace(
        descent(Quadratic(), {"a": 0.1}, ((0.1, 0.2),), steps=1, tolerance=-1), positions=positions
    )
    way = track(record, 0, 0, ((-1.0, 1.0), (-2.0, 2.0)))
    x, y = way.end
    assert max(abs(x), abs(y) / 2) == pytest.approx(1)
    step = np.subtract(end, (0.1, 0.2))
    assert np.cross(np.append(step, 0), np.append(np.subtract(way.end, (0.1, 0.2)), 0))[2] == pytest.approx(
        0, abs=1e-12
    )


def test_no_two_racers_look_alike() -> None:
    looks = {(themed().colour(place), look(place)) for place in range(36)}
    assert len(looks) == 36


# --- trajectories ---


def test_a_panel_a_racer_on_one_map() -> None:
    figure = race(BOWL)
    first, second, third = panels_of(figure)
    assert first.get_title() == f"steady\nf = {BOWL.values[0, 0, 30]:.3g}, after 30 steps"
    assert second.get_title() == "too far\ndiverged at step 18"
    assert third.get_title().startswith("timid\nf = ")
    for axes in (second, third):
        assert axes.get_xlim() == first.get_xlim() == (-3, 3)
        assert axes.get_ylim() == first.get_ylim()
    assert "diverged" in [text.get_text() for text in second.texts]
    assert [text.get_text() for text in first.texts] == []
    line = first.lines[1]  # after the minimum's star
    np.testing.assert_array_equal(np.transpose(line.get_data()), BOWL.positions[0, 0])
    assert "known minimum" in texts_of(figure)


def test_a_title_says_converged_and_another_start_is_another_way() -> None:
    record = descent(Quadratic(1.0), {"one step": 1.0}, ((-2.5, 1.0), (1.0, -2.0)))
    (axes,) = panels_of(race(record, start=1))
    assert axes.get_title() == "one step\nf = 0, converged in 1 steps"
    np.testing.assert_array_equal(np.transpose(axes.lines[1].get_data()), [(1, -2), (0, 0)])


def test_the_frame_stretches_to_a_start_outside() -> None:
    (axes,) = panels_of(race(descent(Quadratic(), {"a": 0.01}, ((-5.0, 0.0),))))
    assert axes.get_xlim() == pytest.approx((-5.3, 3))
    assert axes.get_ylim() == (-3, 3)


def test_all_in_one_panel() -> None:
    figure = race(BOWL, together=True)
    assert len(figure.axes) == 1
    (legend,) = figure.legends
    assert [text.get_text().split("\n")[0] for text in legend.get_texts()] == list(BOWL.names)


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_any_number_of_racers_fits(count: int) -> None:
    figure = race(descent(Quadratic(), {f"racer {i}": 0.01 * (i + 1) for i in range(count)}, steps=5))
    png_of(figure)
    panels = panels_of(figure)
    assert len(panels) == count
    assert sum(bool(axes.get_ylabel()) for axes in panels) == -(-count // 4)
    size = figure.get_size_inches()
    assert size[0] < 13
    for axes in panels:  # no title reaches out of the figure
        box = axes.title.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= size[0] * figure.dpi


def test_dark_is_dark_and_light_is_light() -> None:
    for dark in (False, True):
        for figure in (race(BOWL, dark=dark), race_curves(BOWL, dark=dark), race(BOWL, together=True, dark=dark)):
            corner = png_of(figure)[2, 2] / 255
            np.testing.assert_allclose(corner, to_rgb(themed(dark).paper), atol=0.01)
            for axes in panels_of(figure):
                assert axes.title.get_color() == themed(dark).ink


def test_names_are_shown_as_they_are() -> None:
    names = {"$\\frac{1}{2": 0.1, "a\nb": 0.05, "x" * 500: 0.02}
    for figure in (race(descent(Quadratic(), names)), race_curves(descent(Quadratic(), names))):
        png_of(figure)
        shown = texts_of(figure)
        assert "$\\frac{1}{2" in shown
        assert "a\\nb" in shown
        assert "…" in shown


def test_noise_is_named_once() -> None:
    figure = race(descent(Noisy(Quadratic(), 0.2), {"a": 0.1}))
    assert figure.get_suptitle() == "Quadratic, condition = 10, angle = 0, gradient noise 0.2"


def test_a_story_has_a_row_a_landscape() -> None:
    names = {"short": 0.01, "long": 0.1}
    records = [descent(Saddle(), names, ((-1.5, 1e-3),), steps=60), descent(Quadratic(20.0), names)]
    figure = race_story(records)
    panels = panels_of(figure)
    assert len(panels) == 4
    assert panels[0].get_ylabel().startswith("Saddle")
    assert panels[2].get_ylabel().startswith("Quadratic")
    assert panels[0].get_xlim() == (-2, 2)
    assert panels[2].get_xlim() == (-3, 3)
    assert race_story(records, titles=["one", "two"]).axes[0].get_ylabel().startswith("one")
    # On the saddle the longer steps leave the frame, along y.
    assert [text.get_text() for text in panels[1].texts] == ["leaves"]


# --- curves ---


def test_curves_end_where_the_racers_do() -> None:
    figure = race_curves(BOWL)
    left, right = figure.axes
    assert left.get_yscale() == right.get_yscale() == "log"
    assert left.get_xlabel() == "steps"
    for place in (0, 2):
        assert len(left.lines[2 * place].get_xdata()) == BOWL.ended[place, 0] + 1
    np.testing.assert_allclose(left.lines[0].get_ydata(), BOWL.values[0, 0])
    np.testing.assert_allclose(right.lines[0].get_ydata(), BOWL.distances[0, 0])
    # The one that diverged is cut and crossed out; the others fill the panel.
    assert left.get_ylim()[1] <= 30 * BOWL.values[0, 0, 0]
    assert left.lines[3].get_marker() == "X"
    assert left.lines[3].get_ydata()[0] == left.lines[2].get_ydata()[-1] == left.get_ylim()[1]
    step = left.lines[3].get_xdata()[0]
    before, after = (BOWL.values[1, 0, int(step) + more] for more in (0, 1))
    # The line is straight on the log scale, so it meets the edge there.
    assert before * (after / before) ** (step % 1) == pytest.approx(left.get_ylim()[1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*BOWL.names, "diverged"]


def test_zero_lies_at_the_bottom_of_a_log_scale() -> None:
    record = descent(Quadratic(1.0), {"one step": 1.0})
    left, _ = race_curves(record).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), record.values[0, 0, 0] * np.array([1, 1e-16]))
    assert left.get_ylim()[0] < left.lines[0].get_ydata()[1]


def test_a_landscape_without_minimum_shows_f_and_its_slope() -> None:
    record = descent(Saddle(), {"a": 0.1}, ((-1.5, 1e-3),), steps=50)
    left, right = race_curves(record).axes
    assert left.get_yscale() == "linear"
    assert left.get_ylim() == pytest.approx((-4.24, 4.24))  # ±4 within the landscape's bounds
    assert right.get_ylabel() == "gradient's norm |∇f|"
    np.testing.assert_allclose(right.lines[0].get_ydata(), record.gradient_norms[0, 0])


def test_racers_that_all_start_at_the_minimum_are_drawn() -> None:
    png_of(race_curves(descent(Quadratic(), {"a": 0.1}, ((0.0, 0.0),))))


# --- basins ---


def basin_map(reached: np.ndarray, **changes: Any) -> BasinMap:
    lines = np.linspace(-5, 5, reached.shape[1])
    steps = np.full(reached.shape, 10)
    minima = np.array(Himmelblau().minima)
    given = {"name": "racer", "x": lines, "y": np.linspace(-5, 5, reached.shape[0]), "steps": steps} | changes
    return BasinMap(landscape=Himmelblau(), minima=minima, reached=reached, tolerance=1e-2, **given)


REACHED = np.repeat(np.arange(-2, 4), 20).reshape(6, 20).T.copy()  # a sixth of the starts each


def test_each_minimum_has_colour_letter_and_share() -> None:
    figure = basins(basin_map(REACHED))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["A", "B", "C", "D"]
    np.testing.assert_allclose([text.get_position() for text in axes.texts], Himmelblau().minima)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "A (3, 2): 17%"
    assert labels[-2:] == ["no minimum reached: 17%", "diverged: 17%"]
    assert axes.get_title() == "racer\n67% arrive, half of these within 10 steps"
    image = axes.images[0].get_array()
    assert image.shape == (20, 6, 3)
    assert len(np.unique(image[0], axis=0)) == 6
    np.testing.assert_array_equal(image[:, 0], 0)  # diverged is black
    png_of(figure)


def test_more_steps_are_a_stronger_colour() -> None:
    steps = np.tile(np.arange(6) * 20, (4, 1))
    image = basins(basin_map(np.zeros((4, 6), int), steps=steps)).axes[0].images[0].get_array()
    distance_to_white = np.linalg.norm(1 - image[0], axis=-1)
    assert (np.diff(distance_to_white[:5]) > 0).all()


def test_cells_are_centred_on_their_starts() -> None:
    axes = basins(basin_map(np.zeros((11, 21), int))).axes[0]
    assert axes.images[0].get_extent() == [-5.25, 5.25, -5.5, 5.5]


def test_several_maps_side_by_side() -> None:
    figure = basins([basin_map(REACHED), basin_map(REACHED[:, ::-1], name="other")], dark=True)
    assert [axes.get_title().split("\n")[0] for axes in panels_of(figure)] == ["racer", "other"]
    assert figure.legends[0].get_texts()[0].get_text() == "A (3, 2): 17%, 17%"
    np.testing.assert_allclose(png_of(figure)[2, 2] / 255, to_rgb(themed(True).paper), atol=0.01)


def test_nobody_arrives() -> None:
    figure = basins(basin_map(np.full((5, 5), -1)))
    assert figure.axes[0].get_title() == "racer\n0% arrive"
    png_of(figure)


def test_a_share_of_nearly_nothing_is_not_none() -> None:
    reached = np.zeros((30, 30), int)
    reached[0, 0] = -2
    labels = [text.get_text() for text in basins(basin_map(reached)).legends[0].get_texts()]
    assert labels[0] == "A (3, 2): >99%"
    assert labels[-1] == "diverged: <1%"


# --- stability ---


def stability_map(rates: np.ndarray, **changes: Any) -> StabilityMap:
    momenta = np.linspace(0, 0.9, 10)
    boundary = 2 * (1 + momenta) / 10
    rate = 0.5 + 0.5 * rates / boundary[:, None]
    rate[3, 1] = 0.31
    given = {"rate": rate, "theory": rate, "learning_rates": rates, "boundary": boundary} | changes
    return StabilityMap("momentum", False, (1.0, 10.0), momenta=momenta, steps=100, **given)


@pytest.mark.parametrize("rates", [np.linspace(0.02, 0.5, 12), np.geomspace(0.01, 1, 12)])
def test_the_stability_map(rates: np.ndarray) -> None:
    record = stability_map(rates)
    figure = stability(record)
    axes = figure.axes[0]
    assert axes.get_xscale() == ("log" if rates[0] == 0.01 else "linear")
    boundary = axes.lines[1]
    np.testing.assert_allclose(np.transpose(boundary.get_data()), np.transpose([record.boundary, record.momenta]))
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    assert star.get_xdata()[0] == rates[1]
    assert star.get_ydata()[0] == pytest.approx(0.3)
    assert f"best: rate {rates[1]:.3g}, ρ = 0.3, factor 0.31" in texts_of(figure)
    measured = axes.collections[-1].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(measured), record.rate >= 1)  # what grows is not coloured
    png_of(figure)
    png_of(stability(record, dark=True))


def test_a_map_on_which_all_grows_has_no_best() -> None:
    rates = np.linspace(0.1, 0.5, 5)
    record = stability_map(rates, rate=np.full((10, 5), np.nan))
    assert "best" not in texts_of(stability(record))
    png_of(stability(record))


# --- moving pictures and files ---


def frames_of(path: Path) -> int:
    with Image.open(path) as picture:
        return int(picture.n_frames)


def test_an_animation_has_its_frames_and_moves(tmp_path: Path) -> None:
    path = race_animation(BOWL, tmp_path / "race.gif", frames=10)
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0
        frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(picture)]
    assert len(frames) == 10
    assert path.stat().st_size < 1_000_000
    changed = [np.abs(a - b).max() > 50 for a, b in itertools.pairwise(frames)]
    assert all(changed)
    # The racers' own colours are in the palette, not something near them.
    for place in range(3):
        wanted = np.round(255 * np.array(to_rgb(themed().colour(place))))
        assert np.abs(frames[-1] - wanted).sum(axis=-1).min() <= 6


def test_an_animation_is_the_same_each_time(tmp_path: Path) -> None:
    first = race_animation(BOWL, tmp_path / "a.webp", frames=4, dark=True)
    second = race_animation(BOWL, tmp_path / "b.webp", frames=4, dark=True)
    assert first.read_bytes() == second.read_bytes()
    assert frames_of(first) == 4


def test_frames_are_no_more_than_steps(tmp_path: Path) -> None:
    record = descent(Quadratic(), {"a": 0.1}, steps=3)
    assert frames_of(race_animation(record, tmp_path / "a.gif")) == 4


def test_the_pictures_of_a_race(tmp_path: Path) -> None:
    record = descent(Quadratic(), {"a": 0.1}, steps=3)
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        written = race_pictures(record, folder)
    names = ["trajectories.png", "trajectories.svg", "curves.png", "curves.svg", "race.gif"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in second.iterdir()) == sorted(names)
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    with Image.open(first / "curves.png") as picture:
        assert picture.width > 1000
    assert "<svg" in (first / "curves.svg").read_text()


# --- what cannot be drawn ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: race(BOWL, start=2), "start is 2; give a whole number from 0 to 1"),
        (lambda: race_curves(BOWL, start=0.5), "start is 0.5"),  # type: ignore[arg-type]
        (lambda: race_animation(BOWL, "race.mp4"), r"suffix must be \.gif or \.webp"),
        (lambda: race_animation(BOWL, "race.gif", frames=1), "frames is 1; give a whole number from 2 to 1000"),
        (lambda: race_pictures(BOWL, "no such folder"), "no folder; make it first"),
        (lambda: race_story([]), "holds no races"),
        (lambda: race_story([BOWL, descent(Saddle(), {"b": 0.1})]), "different racers: steady, too far, timid and b"),
        (lambda: race_story([BOWL], titles=["a", "b"]), "titles holds 2 for 1 races"),
        (lambda: basins([]), "holds no basin maps"),
        (lambda: basins(3), "holds no basin maps"),  # type: ignore[arg-type]
        (
            lambda: basins([basin_map(REACHED), dataclasses.replace(basin_map(REACHED), minima=np.zeros((1, 2)))]),
            "draw them one by one",
        ),
        (
            lambda: race(descent(Function(lambda p: jnp.log(p[0]), name="log"), {"a": 1e-3}, ((0.5, 0.5),))),
            "not finite",
        ),
    ],
)
def test_errors_name_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
