"""The drawing layer: scales and their ticks by properties, plots against coordinates computed by hand."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from thalweg.report.svg import MARKERS, Categories, Linear, Log, Plot, nice, scale_for, short

HOSTILE = "</text></svg><script>alert(1)</script>\" onload='x' & <"
finite = st.floats(allow_nan=False, allow_infinity=False)
some = st.lists(finite, min_size=1, max_size=6)


def value_of(label: str) -> float:
    """Read a tick's label as its reader does."""
    return float(label.replace("−", "-").replace("k", "e3"))


def shares(scale: Linear | Log) -> np.ndarray:
    return np.asarray([float(scale(value)) for value, _ in scale.ticks()])


def check_ticks(scale: Linear | Log, log: bool) -> None:
    """Ticks lie within and increase, there are 2 to 10 of them, and each label is its value, to a fifth of a step."""
    ticks = scale.ticks()
    places = shares(scale)
    assert 2 <= len(ticks) <= 10
    assert ((places > -1e-6) & (places < 1 + 1e-6)).all()
    assert (np.diff(places) > 1e-3).all()
    values = np.asarray([value for value, _ in ticks])
    read = np.asarray([value_of(label) for _, label in ticks])
    assert len({label for _, label in ticks}) == len(ticks)
    steps = np.diff(values)
    assert (np.abs(read - values) <= 0.2 * steps.min()).all() or (log and np.allclose(read, values, rtol=1e-2, atol=0))


@given(some, st.lists(st.sampled_from([0.0, 1.0]), max_size=1))
@example([0.0], [])
@example([5e-324, 0.0], [])
@example([1e-310, 3e-310], [])
@example([-1.7e308, 1.7e308], [])
@example([1e308], [])
@example([1.0, 1.0 + 2e-16], [])
@example([math.log(2), math.log(2) + 1e-10], [])
@example([1_000_000.1, 1_000_000.9], [])
@example([12345.1, 12345.6], [])
@example([10_000, 12_000], [])
@example([-3e-5, 4e-5], [])
@example([-1e-7, 1e9], [])
def test_a_linear_scale_holds_all_values_and_its_ticks_can_be_read(values: list[float], more: list[float]) -> None:
    scale = scale_for(values, include=more)
    assert isinstance(scale, Linear)
    check_ticks(scale, log=False)
    inside = [value for value in [*values, *more] if abs(value) <= 1e300]
    places = scale(inside)
    assert ((places >= 0) & (places <= 1)).all()


@given(st.lists(st.floats(min_value=5e-324, allow_infinity=False), min_size=1, max_size=6))
@example([5e-324, 1.7e308])
@example([1e-200, 1e200])
@example([1.0])
@example([1.9, 1.1])
@example([1.23456, 1.23457])
@example([1.5, 2.5])
@example([1e-3, 0.1])
def test_a_log_scale_holds_all_values_and_its_ticks_can_be_read(values: list[float]) -> None:
    scale = scale_for(values, log=True)
    assert isinstance(scale, Log)
    check_ticks(scale, log=True)
    inside = [value for value in values if 1e-280 <= value <= 1e280]
    places = scale(inside)
    assert ((places >= -1e-12) & (places <= 1 + 1e-12)).all()


@given(finite.filter(lambda v: 1e-300 < abs(v) < 1e300))
def test_short_numbers_keep_three_digits(value: float) -> None:
    assert value_of(short(value)) == pytest.approx(value, rel=5.1e-3)
    assert len(short(value)) <= 10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-3, "0.001"), (1e-5, "1e-5"), (12, "12"), (1.5, "1.5"),
     (20_000, "20k"), (12_500, "12.5k"), (1e6, "1e6")],
)  # fmt: skip
def test_numbers_are_written_as_people_do(value: float, text: str) -> None:
    assert short(value) == text


def test_ticks_by_hand() -> None:
    assert Linear(0, 1).ticks() == [(pytest.approx(i / 5), f"{i / 5:.1f}") for i in range(6)]
    assert [words for _, words in Linear(-1, 1).ticks()] == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
    assert [words for _, words in Linear(0, 50_000).ticks()] == ["0", "10k", "20k", "30k", "40k", "50k"]
    assert [words for _, words in Log(1e-5, 1).ticks()] == ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]
    assert [words for _, words in Log(1, 50).ticks()] == ["1", "2", "5", "10", "20", "50"]
    assert [words for _, words in Log(1.1, 1.9).ticks()] == ["1.2", "1.4", "1.6", "1.8"]


def test_without_values_a_scale_has_its_own_range() -> None:
    nothing = [math.nan, math.inf, -math.inf]
    assert scale_for(nothing) == scale_for([]) == Linear(0, 1)
    assert scale_for([*nothing, 0.0, -1.0], log=True) == scale_for([], log=True) == Log(1, 10)
    assert scale_for([3.0, *nothing]) == scale_for([3.0]) == Linear(1.5, 4.5)
    assert scale_for([0.0]) == Linear(-0.5, 0.5)
    assert scale_for([4.0], log=True) == Log(2, 8)


def test_places_by_hand() -> None:
    assert Linear(2, 6)([2, 3, 6, 8]).tolist() == [0, 0.25, 1, 1.5]
    assert np.isnan(Linear(2, 6)(math.nan))
    assert Linear(3, 3)(3) == 0
    assert Log(1e-2, 1e2)([1e-2, 1e-1, 1, 1e2]) == pytest.approx([0, 0.25, 0.5, 1])
    assert np.isnan(Log(1, 10)([0.0, -1.0, math.nan])).all()
    words = Categories(("a", "b", HOSTILE, "d"))
    assert words(["a", HOSTILE]).tolist() == [0.125, 0.625]
    assert words("d").tolist() == [0.875]
    assert np.isnan(words("z")).all()
    assert len(Categories(()).ticks()) == 0


@given(st.floats(min_value=1e-290, max_value=1e290))
def test_nice_steps_are_one_two_or_five(step: float) -> None:
    found = nice(step)
    assert step * (1 - 1e-8) <= found <= 2.5 * step * (1 + 1e-8)
    assert f"{found:.6e}"[0] in "125"
    assert float(f"{found:.0e}") == pytest.approx(found, rel=1e-9)


def tree(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{plot.svg()}</div>")


def one(plot: Plot, path: str) -> dict[str, str]:
    (found,) = tree(plot).findall(f".//{path}")
    return found.attrib


def plot(**more: object) -> Plot:
    return Plot(Linear(0, 10), Linear(0, 1), height=100, **more)  # type: ignore[arg-type]


def test_lines_stand_where_they_should() -> None:
    drawn = plot()
    drawn.line([0, 5, 10], [0, 0.5, 1], "s2", dash=3, tip="up", trial=7, width="thin")
    path = one(drawn, "path")
    assert path == {"class": "line s2 d3 thin", "d": "M0 1000 5000 500 10000 0", "data-tip": "up", "data-trial": "7"}


def test_gaps_break_a_line_and_a_point_alone_is_a_dash() -> None:
    drawn = plot()
    drawn.line([0, 1, 2, 3, 4, 5, 6], [0, 1, math.nan, 0.5, math.inf, 0, 0.1], "s0")
    assert one(drawn, "path")["d"] == "M0 1000 1000 0M2960 500 3040 500M5000 1000 6000 900"
    empty = plot()
    empty.line([1, 2], [math.nan, math.nan], "s0")
    empty.line([], [], "s0")
    empty.area([1, 2], [math.nan, 0], [1, math.nan], "s0")
    empty.mark(math.nan, 1, "s0")
    empty.mark(1, math.inf, "s0")
    empty.text(1, math.nan, "nowhere")
    empty.bar((0, 0.5), (0, math.nan), "s0")
    empty.rule(x=math.nan, text="nowhere")
    empty.rule(y=math.nan, text="nowhere")
    assert empty.svg() == plot().svg()


def test_zero_has_no_place_on_a_log_axis() -> None:
    drawn = Plot(Linear(0, 4), Log(0.1, 10), height=100)
    drawn.line([0, 1, 2, 3, 4], [1, 10, 0, 0.1, -1], "s0")
    assert one(drawn, "path")["d"] == "M0 500 2500 0M7460 1000 7540 1000"


def test_an_area_has_the_gaps_of_its_lines() -> None:
    drawn = plot()
    drawn.area([0, 1, 2, 3, 4], [0, 0, math.nan, 0, 0], [1, 1, 1, 0.5, 0.5], "s1")
    assert [path.get("d") for path in tree(drawn).findall(".//path")] == [
        "M0 1000 1000 1000 1000 0 0 0Z",
        "M3000 1000 4000 1000 4000 500 3000 500Z",
    ]


def test_marks_bars_and_cells_stand_where_they_should() -> None:
    drawn = plot()
    drawn.mark(2.5, 0.25, "s1", marker="cross", tip="here", trial=0)
    assert one(drawn, "use") == {
        "href": "#m-cross", "class": "mark s1", "x": "25%", "y": "75", "data-tip": "here", "data-trial": "0",
    }  # fmt: skip
    drawn = plot()
    drawn.bar((0.2, 0.5), (0, 0.4), "s0")
    box = {"x": "20%", "y": "60", "width": "30%", "height": "40"}
    assert one(drawn, "rect") == {"class": "bar s0", **box}
    drawn = plot()
    drawn.bar((0.2, 0.5), (0.4, 0.4), "s0")
    assert one(drawn, "rect")["height"] == "1"  # a bar of nothing is seen still
    drawn = plot(grid=False, x_ticks=False, y_ticks=False)
    drawn.cell((0.2, 0.5), (0, 0.4), 99, text="12")
    drawn.cell((0.5, 0.8), (0, 0.4), None)
    drawn.frame((0.2, 0.5), (0, 0.4))
    cells = [found.attrib for found in tree(drawn).findall(".//rect")]
    assert cells == [
        {"class": "cell h8", **box},
        {"class": "cell none", **box, "x": "50%"},
        {"class": "line ink thick", **box},
    ]
    assert one(drawn, "text") == {"class": "in h8", "x": "35%", "y": "84"}


def test_rules_and_outlines_stand_where_they_should() -> None:
    drawn = plot(grid=False)
    drawn.rule(x=2, series="alarm", dash=2)
    drawn.rule(y=0.75)
    lines = [found.attrib for found in tree(drawn).findall(".//line") if "line" in found.attrib["class"]]
    assert lines == [
        {"class": "line alarm d2", "x1": "20%", "x2": "20%", "y1": "0", "y2": "100"},
        {"class": "line ink d1", "x1": "0", "x2": "100%", "y1": "25", "y2": "25"},
    ]
    drawn = plot()
    square = np.asarray([[0, 0], [10, 0], [10, 1], [0, 1]])
    drawn.shape([square, 0.5 * square], 3)
    path = one(drawn, "path")
    assert path["d"] == "M0 1000 10000 1000 10000 0 0 0ZM0 1000 5000 1000 5000 500 0 500Z"
    assert (path["class"], path["fill-rule"]) == ("cell h3", "evenodd")


def test_what_lies_far_off_stays_short() -> None:
    drawn = plot()
    drawn.line([0, 1e300], [0, -1e300], "s0")
    drawn.mark(-1e200, 1e200, "s0")
    drawn.bar((0, 1), (0, 1e200), "s0")
    assert one(drawn, "path")["d"] == "M0 1000 50000 50000"
    assert max(len(number) for number in re.findall(r"-?[\d.]+", str(drawn.svg()))) <= 8


def test_ticks_stand_at_their_values() -> None:
    root = tree(Plot(Linear(0, 1), Linear(0, 4), height=200, x_title="rate", y_title="loss", label="what it shows"))
    texts = root.findall(".//text")
    middle = {found.text: found.get("x") for found in texts if found.get("class") == "tick middle"}
    assert middle == {"0.0": "0%", "0.2": "20%", "0.4": "40%", "0.6": "60%", "0.8": "80%", "1.0": "100%"}
    aside = {found.text: found.get("y") for found in texts if found.get("class") == "tick end"}
    assert aside == {"0": "204", "1": "154", "2": "104", "3": "54", "4": "4"}
    assert [found.text for found in texts if found.get("class") == "title middle"] == ["rate"]
    area = root.find("./div[@role='img']")  # no mark of it says anything: there is nothing to walk through
    assert area is not None
    assert area.get("tabindex") is None
    assert area.get("aria-label") == "what it shows"
    assert [found.text for found in root.findall("./p")] == ["loss"]


def test_numbers_are_not_cut() -> None:
    drawn = Plot(Linear(0, 1), Linear(1_000_000.1, 1_000_000.9), x_ticks=False, left=40)
    root = tree(drawn)
    assert [found.text for found in root.findall(".//text")] == [f"1000000.{i}" for i in (2, 4, 6, 8)]
    (axis,) = [found for found in root.iter("svg") if found.get("class") == "y-axis"]
    assert axis.get("width") == "73"
    assert [words for _, words in Linear(-4e-5, 0).ticks()] == ["−4e-5", "−3e-5", "−2e-5", "−1e-5", "0"]


def test_long_categories_are_cut_with_a_sign() -> None:
    words = tuple(f"{'word' * 20}{i}" for i in range(30))
    texts = [found.text or "" for found in tree(Plot(Categories(words), Categories(words[:2]))).findall(".//text")]
    assert len(texts) == 32
    assert all(text.endswith("…") and len(text) <= 8 for text in texts)


def test_every_text_is_escaped() -> None:
    drawn = Plot(
        Categories((HOSTILE, "b")),
        Categories(("u", HOSTILE)),
        x_title=HOSTILE,
        y_title=HOSTILE,
        label=HOSTILE,
        left=600,
    )
    drawn.line([HOSTILE, "b"], ["u", HOSTILE], HOSTILE, tip=HOSTILE, width=HOSTILE)
    drawn.mark("b", "u", HOSTILE, marker=HOSTILE, tip=HOSTILE, trial=1)
    drawn.bar((0, 1), ("u", HOSTILE), HOSTILE, tip=HOSTILE)  # type: ignore[arg-type]
    drawn.cell((0, 1), (0, 1), 1, text=HOSTILE, tip=HOSTILE)
    drawn.rule(x="b", series=HOSTILE, text=HOSTILE)  # type: ignore[arg-type]
    drawn.rule(y="u", series=HOSTILE, text=HOSTILE)  # type: ignore[arg-type]
    drawn.text("b", "u", HOSTILE, series=HOSTILE, anchor=HOSTILE)
    drawn.legend(HOSTILE, HOSTILE, marker=HOSTILE, dash=1)
    drawn.frame((0, 1), (0, 1), HOSTILE)
    root = tree(drawn)
    known = {"div", "svg", "p", "ul", "li", "line", "path", "use", "rect", "text"}
    assert {found.tag for found in root.iter()} == known
    assert not any(name.startswith("on") for found in root.iter() for name in found.attrib)
    texts = [found.text for found in root.iter("text")]
    assert texts.count(HOSTILE) == 6  # a tick of y, x's title, a cell, two rules, a text; the tick of x is cut
    assert [found.tail for found in root.findall("./ul/li/svg")] == [HOSTILE]
    assert {found.get("data-tip") for found in root.iter()} == {None, HOSTILE}


def test_a_legend_names_series_with_mark_line_and_shade() -> None:
    drawn = plot()
    assert drawn.legend_list() == Markup("")
    for place, marker in enumerate(MARKERS):
        drawn.legend(f"series {place}", f"s{place}", marker=marker, dash=place)
    drawn.legend("shade", "", shade=4)
    items = ElementTree.fromstring(str(drawn.legend_list())).findall("li")
    assert [item.find("svg").tail for item in items] == [*(f"series {i}" for i in range(6)), "shade"]  # type: ignore[union-attr]
    assert [use.get("href") for item in items for use in item.iter("use")] == [f"#m-{name}" for name in MARKERS]
    assert items[-1].find(".//rect").get("class") == "cell h4"  # type: ignore[union-attr]
