"""A model's pictures: what they hold, that names of any kind are shown as they are, and that nothing overlaps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import thalweg as tw
from thalweg import plot
from thalweg.data import Preprocessing
from thalweg.plot.names import fitting, inches
from thalweg.views import RegionRecord, TemplateRecord, WeightRecord

HOSTILE = ("$100_000$", "_hidden", "a very long name that goes on and on and on", "<script>\n\t", "50% \\alpha ^", " ")
SHOWN = ("$100_000$", "_hidden", "<script>\\n\\t", "50% \\alpha ^", "' '")


def linear(weights: Any, shape: tuple[int, ...], classes: tuple[str, ...], **more: Any) -> tw.FittedModel:
    weights = np.asarray(weights, np.float32).reshape(len(classes), -1)
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    params = {"weight": weights, "bias": np.zeros(len(classes), np.float32)}
    return tw.FittedModel(tw.Recipe(), params, {}, plain, classes, shape, **more)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class number {i}" for i in range(count))


def texts_of(figure: Figure) -> list[Text]:
    FigureCanvasAgg(figure).draw()  # tick labels exist once drawn
    unseen = set()  # labels of ticks beyond the ends of an axis, which exist and are not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            beyond = [tick for tick in axis.get_major_ticks() if not low - slack <= tick.get_loc() <= high + slack]
            unseen |= {id(label) for tick in beyond for label in (tick.label1, tick.label2)}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and id(t) not in unseen]


def check_literal_and_apart(figure: Figure, shown: tuple[str, ...]) -> None:
    """Each name is shown, letter by letter; no text covers another or leaves the figure."""
    texts = texts_of(figure)
    words = [text.get_text() for text in texts]
    for name in shown:
        assert name in words
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        if "$" in text.get_text():
            assert not text.get_parse_math()
        assert box.x0 >= -1, text.get_text()
        assert box.y0 >= -1, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert box.y1 <= figure.bbox.y1 + 1, text.get_text()
    for i, one in enumerate(boxes):
        for other, box in zip(texts[:i], boxes[:i], strict=True):
            across = min(one.x1, box.x1) - max(one.x0, box.x0)
            down = min(one.y1, box.y1) - max(one.y0, box.y0)
            # Boxes reach above and below the letters: a pixel or two in common is no overlap.
            assert across < 1 or down < 3, (texts[i].get_text(), other.get_text())


# --- templates ---


def tiles_of(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_three_channels_go_from_mid_grey() -> None:
    record = TemplateRecord(("a",), np.array([0.0, 1.0, -1.0, 0.5, 0.0, 9.0]).reshape(1, 1, 2, 3), np.ones(1), "each")
    (tile,) = tiles_of(plot.templates(record))
    np.testing.assert_allclose(tile, [[[0.5, 1, 0], [0.75, 0.5, 1]]])


def test_one_channel_is_blue_for_and_red_against() -> None:
    (tile,) = tiles_of(plot.templates(TemplateRecord(("a",), np.array([[[[1.0], [-1.0]]]]), np.ones(1), "each")))
    np.testing.assert_allclose(tile[0], [colormaps["RdBu"](1.0)[:3], colormaps["RdBu"](0.0)[:3]])
    assert tile[0, 0, 2] > tile[0, 0, 0]
    assert tile[0, 1, 0] > tile[0, 1, 2]


def test_a_shared_scale_has_its_limit_on_the_bar_and_another_says_so() -> None:
    weights = np.stack([np.full((2, 2, 1), 0.25), np.full((2, 2, 1), -4.0)])
    model = linear(weights, (2, 2, 1), ("a", "b"))
    words = [text.get_text() for text in texts_of(plot.templates(model, scale="shared"))]
    assert {"−4", "0", "4", "weight of a pixel"} <= set(words)
    each = plot.templates(model)
    assert "weight of a pixel, each class on its own scale" in [text.get_text() for text in texts_of(each)]
    np.testing.assert_array_equal(tiles_of(each)[0][0, 0], colormaps["RdBu"](1.0)[:3])


@pytest.mark.parametrize(("count", "shape"), [(1, (3, 3, 3)), (2, (1, 40, 1)), (100, (4, 4, 1)), (3, (2, 2, 4))])
def test_templates_of_any_number_and_shape_are_drawn_apart(count: int, shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=(count, *shape))
    figure = plot.templates(linear(weights, shape, names(count)))
    assert len(tiles_of(figure)) == count * (4 if shape[2] == 4 else 1)
    check_literal_and_apart(figure, ())


def test_hostile_names_stand_over_templates() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 2, 2, 3))
    check_literal_and_apart(plot.templates(linear(weights, (2, 2, 3), HOSTILE)), SHOWN)


# --- decision regions ---


def regions(count: int, examples: int = 0) -> RegionRecord:
    lines = np.linspace(-1, 1, 41)
    angles = 2 * np.pi * np.arange(count) / count
    x, y = np.meshgrid(lines, lines)
    scores = np.stack([np.cos(a) * x + np.sin(a) * y for a in angles])
    points = np.random.default_rng(0).uniform(-1, 1, (examples, 2))
    labels = np.arange(examples) % count
    predicted = np.argmax(points @ np.stack([np.cos(angles), np.sin(angles)]), axis=1)
    shown = HOSTILE[:count] if count <= 6 else names(count)
    return RegionRecord(shown, ("$x_1$ and more", "_y"), lines, lines, scores, points, labels, predicted)


def test_regions_borders_and_examples_are_those_of_the_record() -> None:
    record = regions(4, examples=40)
    figure = plot.decision_regions(record)
    axes = figure.axes[0]
    mesh = axes.collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(41, 41), record.regions)
    drawn = sum(len(one.get_offsets()) for one in axes.collections if type(one).__name__ == "PathCollection")
    assert drawn == 40
    wrong = int((record.predicted != record.labels).sum())
    assert figure.get_supxlabel() == f"{wrong} of 40 examples predicted wrongly (black edges)."
    # The borders of four quadrants turned by 45 degrees are the diagonals.
    borders = [one for one in axes.collections if type(one).__name__ == "QuadContourSet"]
    assert len(borders) == 4
    vertices = np.concatenate([path.vertices for one in borders for path in one.get_paths()])
    np.testing.assert_allclose(np.abs(vertices[:, 0]), np.abs(vertices[:, 1]), atol=1e-12)


def test_hostile_names_stand_in_the_legend_and_on_the_axes() -> None:
    check_literal_and_apart(plot.decision_regions(regions(6, examples=30)), (*SHOWN, "$x_1$ and more", "_y"))


def test_of_many_classes_the_names_stand_in_the_regions() -> None:
    figure = plot.decision_regions(regions(30))
    assert not figure.legends
    words = {text.get_text() for text in figure.axes[0].texts}
    assert words
    assert all(word.startswith("class") for word in words)


def test_many_examples_are_thinned_and_the_caption_says_so() -> None:
    assert "1,500 of them drawn." in plot.decision_regions(regions(2, examples=1600)).get_supxlabel().replace("\n", " ")


def test_one_region_alone_has_no_border() -> None:
    record = regions(2)
    scores = np.stack([np.ones((41, 41)), np.zeros((41, 41))])
    alone = RegionRecord(*[scores if name == "scores" else value for name, value in vars(record).items()])
    figure = plot.decision_regions(alone)
    assert [type(one).__name__ for one in figure.axes[0].collections] == ["QuadMesh"]
    assert len(figure.legends[0].get_texts()) == 1


def test_a_network_of_two_features_and_an_estimator_that_holds_it_are_drawn() -> None:
    model = tw.models.Dense(hidden=(3,))
    params, state = model.init(jax.random.key(0), (2,), 2)
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    recipe = tw.Recipe(model=model)
    fitted = tw.FittedModel(recipe, jax.tree.map(np.asarray, params), state, plain, ("a", "b"), (2,))
    mesh = [
        np.asarray(plot.decision_regions(one, points=20).axes[0].collections[0].get_array()).ravel()
        for one in (fitted, SimpleNamespace(model_=fitted))
    ]
    np.testing.assert_array_equal(mesh[0], mesh[1])
    lines = np.linspace(-3, 3, 20)
    grid = np.stack(np.meshgrid(lines, lines), axis=-1).reshape(-1, 2).astype(np.float32)
    np.testing.assert_array_equal(mesh[0], fitted.scores(grid).argmax(axis=1))


# --- weights ---


def bars_of(axes: Any) -> dict[str, float]:
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(labels, [bar.get_width() for bar in axes.patches], strict=True))


def weight_record(count: int, features: int = 4, shown: tuple[str, ...] | None = None) -> WeightRecord:
    weights = np.random.default_rng(0).normal(size=(count, features))
    named = tuple(f"feature {i}" for i in range(features))
    return WeightRecord(shown or names(count), named, weights, np.zeros(count), "unit of the feature")


def test_bars_are_the_largest_weights_of_each_class() -> None:
    record = weight_record(3, features=9)
    figure = plot.weights(record, top=4)
    assert [axes.get_title() for axes in figure.axes] == list(record.classes)
    for axes, weights in zip(figure.axes, record.weights, strict=True):
        largest = np.argsort(-np.abs(weights))[:4]
        assert bars_of(axes) == {f"feature {i}": weights[i] for i in largest}
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_two_classes_are_one_panel_of_the_difference() -> None:
    record = weight_record(2, shown=("no", "yes"))
    (axes,) = plot.weights(record).axes
    assert axes.get_title() == "← no      yes →"
    assert bars_of(axes) == {f"feature {i}": w for i, w in enumerate(record.weights[1] - record.weights[0])}


def test_the_map_has_a_row_a_feature_by_its_largest_weight() -> None:
    record = weight_record(8, features=60)
    axes = plot.weights(record).axes[0]
    order = np.argsort(-np.abs(record.weights).max(axis=0))[:40]
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), record.weights[:, order].T)
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"feature {i}" for i in order]
    assert axes.images[0].get_clim()[0] == -axes.images[0].get_clim()[1]
    assert axes.get_title() == "40 of 60 features: those with the largest weights"


@pytest.mark.parametrize("kind", ["bars", "map"])
@pytest.mark.parametrize(("count", "features"), [(2, 1), (3, 1), (6, 12)])
def test_weights_are_drawn_apart(kind: Any, count: int, features: int) -> None:
    check_literal_and_apart(plot.weights(weight_record(count, features), kind=kind), ())


@pytest.mark.parametrize("kind", ["bars", "map"])
def test_hostile_names_stand_at_weights(kind: Any) -> None:
    record = WeightRecord(HOSTILE, HOSTILE, np.random.default_rng(0).normal(size=(6, 6)), np.zeros(6), "unit")
    check_literal_and_apart(plot.weights(record, kind=kind), SHOWN)


def test_weights_that_are_all_0_are_drawn() -> None:
    for kind in ("bars", "map"):
        record = WeightRecord(("a", "b", "c"), ("x",), np.zeros((3, 1)), np.zeros(3), "unit")
        assert texts_of(plot.weights(record, kind=kind))  # type: ignore[arg-type]


# --- names ---


def test_names_are_cut_in_the_middle_to_a_width() -> None:
    name = "class number 1234 of many"
    for width in (0.3, 0.6, 1.0):
        shown = fitting(name, width, 8)
        assert inches(shown, 8) <= width
        head, tail = shown.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
    assert fitting(name, 9, 8) == name
    assert fitting("W" * 10_000, 0.5, 8).count("W") >= 2
    assert fitting(name, 0.01, 8) == "…"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (plot.templates, "no images"),
        (lambda m: plot.templates(m, scale="all"), "scale is 'all'; it must be 'each' or 'shared'"),
        (plot.decision_regions, "decision regions need two features, the model takes \\(3,\\)"),
        (lambda m: plot.weights(m, kind="bar"), "kind is 'bar' \\(did you mean 'bars'"),
        (lambda m: plot.weights(m, top=0), "top is 0; it must be finite and at least 1"),
        (lambda m: plot.weights("model"), "model is a str; give a FittedModel"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Any, message: str) -> None:
    with pytest.raises(tw.UsageError, match=message):
        draw(linear(np.eye(3), (3,), ("a", "b", "c")))
