"""The report's figures on classes, drawn with Matplotlib: the numbers that they show, light and dark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import thalweg as tw
from thalweg import plot
from thalweg.data import Split
from thalweg.report.block import Lacking
from thalweg.report.records.confusion import ConfusionRecord, confusion_of
from thalweg.report.records.mistakes import MistakesRecord, mistakes_of


def words(figure: Figure) -> list[str]:
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def confused(classes: int = 3) -> ConfusionRecord:
    labels = np.repeat(np.arange(classes - 1), 4)  # the last class has no examples
    predicted = labels.copy()
    predicted[::4] = (labels[::4] + 1) % classes
    return confusion_of(labels, predicted, ("$a_b$", *(f"class {i}" for i in range(1, classes))))


def wrong(shape: tuple[int, ...] = (4, 6, 1), **options: Any) -> MistakesRecord:
    """Two mistakes, the first one sure, of a model that is nearly always right where it is sure."""
    pixels = np.tile(np.arange(3 * np.prod(shape)).reshape(3, *shape), (8, 1, 1, 1)).astype(np.uint8)
    split = Split(pixels, np.zeros(24, np.int32))
    data = tw.Dataset("made", "made", split, ("$a_b$", "b"))
    scores = np.array([[0, 9.0], [0, 1.0], *[[9.0, 0]] * 22])
    return mistakes_of(scores, np.zeros(24, int), data.classes, split, data=data, **{"softmax": True, **options})


@pytest.mark.parametrize("dark", [False, True])
def test_the_matrix_has_each_count_in_its_cell(dark: bool) -> None:
    record = confused()
    figure = plot.confusion(record, dark=dark)
    shown = words(figure)
    axes = figure.axes[0]
    cells = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "3", (0, 1): "1", (1, 1): "3", (1, 2): "1"}
    drawn = np.ma.masked_invalid(axes.images[0].get_array())
    assert drawn.mask[2].all()  # a row without examples has no shade
    assert drawn[0, 0] > drawn[0, 1] > drawn[0, 2] == 0
    assert shown.count("$a_b$") == 2
    assert "6 of 8 test examples right" in shown
    # The number is told from its shade: at least 4.5 to 1 (WCAG 2).
    for (row, column), text in zip(cells, axes.texts, strict=True):
        under = luminance(axes.images[0].cmap(float(drawn[row, column]))[:3])
        over = {"black": 0.0, "white": 1.0}[text.get_color()]
        assert (max(under, over) + 0.05) / (min(under, over) + 0.05) >= 4.5


def luminance(rgb: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_of_many_classes_some_are_drawn_and_the_title_says_so() -> None:
    record = confused(40)
    figure = plot.confusion(record, most=12)
    assert figure.axes[0].images[0].get_array().shape == (12, 12)
    assert any("the 12 of 40 classes with most confusions" in text for text in words(figure))
    figure = plot.per_class(record, most=5)
    assert len(figure.axes[0].get_yticks()) == 5
    assert any("the worst 5 of 40" in text for text in words(figure))


def test_recalls_have_their_intervals() -> None:
    record = confused()
    figure = plot.per_class(record)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(lines[0].get_xdata(), record.recall_interval[0])
    assert "no examples: undefined" in words(figure)


def test_mistakes_are_drawn_with_their_captions() -> None:
    record = wrong()
    figure = plot.mistakes(record)
    shown = words(figure)
    assert "$a_b$ → b" in shown
    assert "73.1 % sure" in shown
    assert shown.count("label?") == 1
    first, second = figure.axes[0].images
    np.testing.assert_array_equal(np.asarray(first.get_array())[..., 0], record.mistakes[0].image[..., 0])
    left, right, low, high = second.get_extent()
    assert (right - left) / (high - low) == pytest.approx(6 / 4)
    assert "margin 9" in words(plot.mistakes(wrong((4, 4, 3), softmax=False), dark=True, columns=1))


def test_what_cannot_be_drawn_is_refused() -> None:
    for draw in (plot.confusion, plot.per_class, plot.mistakes):
        with pytest.raises(tw.UsageError, match=r"give a diagnostics\.Case"):
            draw([1, 2])
        with pytest.raises(tw.UsageError, match="no data here"):
            draw(Lacking("no data here"))
    with pytest.raises(tw.UsageError, match="columns is 0"):
        plot.mistakes(wrong(), columns=0)
    with pytest.raises(tw.UsageError, match="no grey or coloured images"):
        plot.mistakes(wrong((4, 4, 2)))
