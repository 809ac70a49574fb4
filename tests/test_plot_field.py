"""Gradient fields: the record's numbers, what the figure holds, and errors in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from thalweg.errors import UsageError
from thalweg.landscapes import Beale, Hill, Himmelblau, Quadratic, Rosenbrock, Saddle
from thalweg.plot import FieldRecord, field, field_record

SQUARE = ((-1.0, 1.0), (-2.0, 2.0))


def wave_jax(p: Any) -> Any:
    return jnp.sin(p[..., 0]) * p[..., 1]


def wave_numpy(p: Any) -> Any:
    return np.sin(p[..., 0]) * p[..., 1]


def wave_gradient(p: Any) -> Any:
    return np.stack([np.cos(p[..., 0]) * p[..., 1], np.sin(p[..., 0])], axis=-1)


def grid_of(record: FieldRecord) -> np.ndarray:
    return np.stack(np.meshgrid(record.xs, record.ys), axis=-1)


def png_of(figure: Figure) -> Image.Image:
    out = BytesIO()
    figure.savefig(out, dpi=40)
    return Image.open(out)


def texts_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


# --- the record ---


def test_a_landscape_brings_bounds_gradient_and_minima() -> None:
    f = Himmelblau()
    record = field_record(f, points=(11, 7))
    np.testing.assert_array_equal(record.xs, np.linspace(-5, 5, 11))
    np.testing.assert_array_equal(record.ys, np.linspace(-5, 5, 7))
    np.testing.assert_array_equal(record.values, f(grid_of(record)))
    np.testing.assert_array_equal(record.gradients, f.gradient(grid_of(record)))
    assert record.values[2, 3] == f((record.xs[3], record.ys[2]))
    assert (record.source, record.exact, record.minima) == ("formula", True, f.minima)
    assert field_record(f, bounds=SQUARE).xs[0] == -1
    assert field_record(f).values.shape == (101, 101)


def test_the_title_holds_the_parameters() -> None:
    assert field_record(Rosenbrock(), points=3).name == "Rosenbrock, a = 1, b = 100"
    assert field_record(Saddle(), points=3).name == "Saddle"
    assert field_record(wave_numpy, bounds=SQUARE, points=3).name == "wave_numpy"
    assert field_record(lambda p: p[..., 0], bounds=SQUARE, points=3).name == "f"


def test_jax_functions_are_differentiated_in_float64() -> None:
    for f in (wave_jax, jax.jit(wave_jax)):
        record = field_record(f, bounds=SQUARE, points=21)
        assert (record.source, record.exact) == ("autodiff", True)
        np.testing.assert_allclose(record.values, wave_numpy(grid_of(record)), rtol=0, atol=1e-15)
        np.testing.assert_allclose(record.gradients, wave_gradient(grid_of(record)), rtol=0, atol=1e-14)
    assert jnp.zeros(1).dtype == jnp.float32  # no switch is left behind


def test_operators_alone_are_traceable_too() -> None:
    record = field_record(lambda p: p[..., 0] ** 2 - p[..., 1], bounds=SQUARE, points=5)
    assert record.source == "autodiff"
    np.testing.assert_allclose(record.gradients[..., 0], 2 * grid_of(record)[..., 0])


def test_numpy_functions_are_estimated() -> None:
    record = field_record(wave_numpy, bounds=SQUARE, points=201)
    assert (record.source, record.exact) == ("samples", False)
    np.testing.assert_allclose(record.gradients, wave_gradient(grid_of(record)), atol=1e-3)


def test_a_given_gradient_is_taken() -> None:
    for f in (wave_numpy, wave_jax):
        record = field_record(f, bounds=SQUARE, points=5, gradient=wave_gradient)
        assert (record.source, record.exact) == ("given", True)
        np.testing.assert_allclose(record.gradients, wave_gradient(grid_of(record)))
    assert field_record(Saddle(), points=5, gradient=lambda p: -p).source == "given"
    xs = np.linspace(0, 1, 4)
    record = field_record((xs, xs, np.zeros((4, 4))), gradient=lambda p: 2 * p)
    np.testing.assert_array_equal(record.gradients, 2 * grid_of(record))


def test_samples_are_exact_for_squares_on_an_uneven_grid() -> None:
    xs, ys = np.array([0, 0.1, 0.7, 2.0]), np.array([-3, -1, 0.5, 0.6, 4])
    x, y = np.meshgrid(xs, ys)
    record = field_record((xs, ys, x**2 + 3 * x * y - 2 * y**2))
    assert (record.name, record.source) == ("samples", "samples")
    np.testing.assert_allclose(record.gradients[..., 0], 2 * x + 3 * y, atol=1e-12)
    np.testing.assert_allclose(record.gradients[..., 1], 3 * x - 4 * y, atol=1e-12)


@pytest.mark.parametrize("spacing", [lambda t: t, lambda t: np.sinh(2 * t) / np.sinh(2)], ids=["even", "uneven"])
def test_estimates_converge_as_the_grid_gets_finer(spacing: Callable[[np.ndarray], np.ndarray]) -> None:
    f, errors = Hill(), []
    for points in (21, 41, 81):
        lines = 10 * spacing(np.linspace(-1, 1, points))
        grid = np.stack(np.meshgrid(lines, lines), axis=-1)
        record = field_record((lines, lines, f(grid)))
        errors.append(np.abs(record.gradients - f.gradient(grid)).max())
    # Second order: half the spacing, about a quarter of the error.
    assert errors[0] / errors[1] > 3
    assert errors[1] / errors[2] > 3


def test_lists_and_integers_are_samples_too() -> None:
    record = field_record(([0, 1, 2], [0, 1, 2], [[0, 1, 2], [1, 2, 3], [2, 3, 4]]))
    np.testing.assert_allclose(record.gradients, 1)


def test_a_function_may_write_into_its_points() -> None:
    def careless(p: Any) -> Any:
        p *= 2
        return np.asarray(p)[..., 0]

    record = field_record(careless, bounds=SQUARE, points=5)
    np.testing.assert_array_equal(record.xs, np.linspace(-1, 1, 5))
    np.testing.assert_allclose(record.gradients, np.broadcast_to([2.0, 0.0], (5, 5, 2)))


def test_a_gradient_that_does_not_exist_is_nan_and_has_no_arrow() -> None:
    record = field_record(lambda p: jnp.linalg.norm(p, axis=-1), bounds=((-1, 1), (-1, 1)))
    assert np.isnan(record.gradients[50, 50]).all()
    assert np.isnan(record.gradients).sum() == 2
    assert "Arrows left out where the gradient is not finite: 1." in texts_of(field(record, kinds="arrows"))


# --- the figure ---


def test_the_four_panels() -> None:
    figure = field(Himmelblau(), points=21)
    assert isinstance(figure, Figure)
    contour, mesh, surface, arrows = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["Contour lines", "Colour mesh", "Surface", "Gradient"]
    assert surface.name == "3d"
    assert surface.get_zlabel() == "f(x, y)"
    for axes in figure.axes:
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    for axes in (contour, mesh, arrows):
        assert axes.get_legend_handles_labels()[1] == ["minimum"]
        np.testing.assert_array_equal(np.transpose(axes.lines[0].get_data()), Himmelblau().minima)
    assert [bar.get_ylabel() for bar in (*mesh.child_axes, *arrows.child_axes)] == ["f(x, y)", "|∇f|"]
    assert figure.get_suptitle() == "Himmelblau"
    caption = figure.get_supxlabel()
    assert "Arrows point uphill, all of one length; colour shows |∇f|" in caption
    assert "Gradient exact, from its formula." in caption
    assert "even steps to the power 2" in caption
    assert png_of(figure).width > 100


@pytest.mark.parametrize(
    ("f", "gradient", "words"),
    [
        (wave_jax, None, "exact, by automatic differentiation"),
        (wave_numpy, None, "estimated from the samples by central differences"),
        (wave_numpy, wave_gradient, "Gradient as given"),
    ],
)
def test_the_caption_says_where_the_arrows_come_from(f: Any, gradient: Any, words: str) -> None:
    caption = field(f, bounds=SQUARE, points=9, gradient=gradient, kinds=("mesh", "arrows")).get_supxlabel()
    assert words in caption.replace("\n", " ")


def test_arrows_are_unit_vectors_uphill_coloured_by_size() -> None:
    record = field_record(Saddle(), points=17)
    (axes,) = field(record, kinds="arrows").axes
    (quiver,) = [one for one in axes.collections if type(one).__name__ == "Quiver"]
    u, v, size = (np.ravel(part) for part in (quiver.U, quiver.V, quiver.get_array()))
    assert len(u) == 17 * 17
    np.testing.assert_allclose(np.stack([u * size, v * size], axis=-1), record.gradients.reshape(-1, 2), atol=1e-12)
    middle = 17 * 8 + 8
    assert u[middle] == v[middle] == size[middle] == 0


def test_panels_come_as_asked() -> None:
    assert [axes.get_title() for axes in field(Hill(), points=9, kinds=("surface", "contour")).axes] == [
        "Surface",
        "Contour lines",
    ]
    assert len(field(Hill(), points=9, kinds="mesh").axes) == 1
    assert "Gradient" not in texts_of(field(Hill(), points=9, kinds="mesh"))


def test_axes_are_equal_unless_that_leaves_a_strip() -> None:
    (axes,) = field(wave_numpy, bounds=SQUARE, points=9, kinds="mesh").axes
    assert axes.get_box_aspect() == 2
    figure = field(wave_numpy, bounds=((0, 1), (0, 100)), points=9, kinds="mesh")
    assert figure.axes[0].get_box_aspect() == 1
    assert "The axes are not to one scale." in texts_of(figure)


def test_levels_crowd_where_the_values_do() -> None:
    (axes,) = field(Beale(), kinds="contour").axes
    levels = axes.collections[0].levels
    assert levels[0] < 1
    assert levels[-1] > 1e5
    (axes,) = field(Saddle(), kinds="contour").axes
    np.testing.assert_allclose(np.diff(axes.collections[0].levels), np.diff(axes.collections[0].levels)[0])


@pytest.mark.parametrize("value", [0.0, 5.0, -1e9])
def test_a_flat_function_is_drawn_and_said_to_be_flat(value: float) -> None:
    figure = field(lambda p: np.full(p.shape[:-1], value), bounds=SQUARE, points=9)
    assert "All values are the same" in texts_of(figure)
    assert png_of(figure).width > 100


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e150])
def test_tiny_and_huge_values_are_drawn(scale: float) -> None:
    f = Rosenbrock()
    assert png_of(field(lambda p: scale * f(p), bounds=f.bounds, points=21)).width > 100


def test_a_spike_on_a_plain_is_drawn() -> None:
    values = np.zeros((9, 9))
    values[4, 4] = 1
    assert png_of(field((np.arange(9), np.arange(9), values))).width > 100


def test_uneven_samples_have_no_crowded_arrows() -> None:
    lines = np.sort(np.random.default_rng(0).uniform(-1, 1, 60))
    (axes,) = field((lines, lines, np.outer(lines, lines)), kinds="arrows").axes
    (quiver,) = [one for one in axes.collections if type(one).__name__ == "Quiver"]
    apart = np.diff(np.unique(quiver.X))
    assert 5 < len(apart) < 17
    assert apart.min() > 0.7 * np.ptp(lines) / 16


def test_no_state_of_pyplot_is_touched() -> None:
    if "matplotlib.pyplot" in sys.modules:
        before = sys.modules["matplotlib.pyplot"].get_fignums()
        field(Quadratic(), points=9)
        assert sys.modules["matplotlib.pyplot"].get_fignums() == before
    else:
        field(Quadratic(), points=9)
        assert "matplotlib.pyplot" not in sys.modules


# --- errors ---

LINES = np.linspace(0, 1, 4)
HOLED = np.zeros((4, 4))
HOLED[1, 2] = np.nan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"f": (LINES, LINES, HOLED)}, "1 of 16 values are not finite, the first is nan at x = 0.666667, y = 0.333333"),
        ({"f": (LINES, LINES, np.ma.masked_invalid(HOLED))}, "(row 1, column 2); fill the gap"),
        ({"f": (LINES, LINES[:3], np.zeros((4, 3)))}, "values has shape [4, 3]; it must be [3, 4]: transpose it"),
        ({"f": (LINES, LINES, np.zeros(16))}, "values has shape [16]; it must be [4, 4]: a row for each of ys"),
        ({"f": (LINES, LINES)}, "samples are 2 arrays; give three: (xs, ys, values)"),
        ({"f": (LINES[::-1], LINES, HOLED)}, "xs does not rise from 1.0 (entry 0) to 0.66"),
        ({"f": (LINES, [0, 1, 1, 2], HOLED)}, "ys does not rise from 1.0 (entry 1) to 1.0; sort it"),
        ({"f": (LINES, [0, 1, np.nan, 2], HOLED)}, "ys does not rise from 1.0 (entry 1) to nan"),
        ({"f": (np.meshgrid(LINES, LINES)[0], LINES, HOLED)}, "xs has shape [4, 4]; give the grid's lines"),
        ({"f": ([0, 1], LINES, np.zeros((4, 2)))}, "xs has shape [2]; give the grid's lines, at least 3"),
        ({"f": (["a", "b", "c"], LINES, HOLED)}, "xs is ['a', 'b', 'c']; give an array of real numbers"),
        ({"f": (LINES, LINES, [[1, 2], [3]])}, "values is [[1, 2], [3]]; give an array of real numbers"),
        ({"f": (LINES, LINES, 1j * HOLED)}, "give an array of real numbers"),
        ({"f": (LINES, LINES, HOLED), "points": 3}, "samples bring their own grid: leave them out"),
        ({"f": 3}, "f is 3; give a Landscape, a function of points (..., 2), or samples"),
        ({"f": wave_numpy}, "bounds is None; give ((x_low, x_high), (y_low, y_high))"),
        ({"f": wave_numpy, "bounds": (0, 1)}, "bounds is (0, 1); give"),
        ({"f": wave_numpy, "bounds": ((1, 0), (0, 1))}, "each low below its high"),
        ({"f": wave_numpy, "bounds": ((0, np.inf), (0, 1))}, "finite and each low below its high"),
        ({"f": wave_numpy, "bounds": "wide"}, "bounds is 'wide'; give"),
        ({"f": Saddle(), "points": 2}, "points is 2; give a whole number of at least 3"),
        ({"f": Saddle(), "points": (5, 5, 5)}, "points is (5, 5, 5); give"),
        ({"f": Saddle(), "points": 10.0}, "points is 10.0; give a whole number"),
        ({"f": lambda p: p, "bounds": SQUARE}, "f returned shape [101, 101, 2] for points [101, 101, 2]; it must"),
        ({"f": lambda p: p.sum(), "bounds": SQUARE}, "f returned shape []"),
        ({"f": lambda p: p[..., 0] + 0j, "bounds": SQUARE}, "f returned complex128 numbers; it must return real ones"),
        ({"f": lambda p: None, "bounds": SQUARE}, "f returned object numbers"),
        ({"f": lambda p: jnp.log(p[..., 0]), "bounds": SQUARE}, "choose bounds within which f is finite"),
        ({"f": Saddle(), "gradient": lambda p: p[..., 0]}, "gradient returned shape [101, 101]"),
        ({"f": Saddle(), "gradient": 3}, "gradient is 3; give a function"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        field_record(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("contuor", "kinds holds 'contuor' (did you mean 'contour'?); choose from contour, mesh, surface, arrows"),
        (("mesh", 3), "kinds holds 3; choose from"),
        ((), "kinds is empty; choose from"),
        (None, "kinds is None; choose from"),
    ],
)
def test_unknown_kinds_are_named(kinds: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        field(Saddle(), kinds=kinds)
    assert message in str(caught.value)


def test_a_record_is_drawn_as_it_is() -> None:
    record = field_record(Saddle(), points=9)
    assert field(record, kinds="mesh").get_suptitle() == "Saddle"
    with pytest.raises(UsageError, match="settled in a FieldRecord"):
        field(record, points=5)


def test_a_function_of_two_arguments_is_told_what_to_be() -> None:
    with pytest.raises(UsageError, match=r"f raised TypeError at points .*it takes one array whose last axis"):
        field(lambda x, y: x + y, bounds=((0, 1), (0, 1)))


def test_a_class_is_no_landscape() -> None:
    with pytest.raises(UsageError, match=r"f is the class Beale; make one: Beale\(\)"):
        field(Beale)
