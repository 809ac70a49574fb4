"""A plot: axes, lines, marks, bars, cells and words, drawn as SVG that spreads over any width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from thalweg.report.svg.scales import Categories, Linear, Log, Scale

__all__ = ["MARKERS", "Plot"]

# Each is a symbol of the page (`templates/symbols.svg`): series i takes marker i, so that colour is never alone.
MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus")
_UNITS = 10_000  # along x, within the stretched drawing that holds lines and areas
_DOT = 40  # units to both sides of a point between gaps, which a line of no length would not show
_FINE = 10  # units a pixel along y, there


class Plot:
    """One pair of axes. Draw with the methods, then take `svg`.

    Args:
        x, y: the scales; y runs upwards. Give plots that are to be compared the same scales.
        height: of the plotting area in pixels; its width is whatever the page has.
        x_title, y_title: what stands along the axes; y's stands above its axis, level, where it is read.
        label: what a screen reader says of the picture: the summary.
        left: pixels for the y axis' words; more where its numbers need it.
        x_ticks, y_ticks: False leaves an axis' words out, where a neighbour has them.

    Series have a class: ``s0`` ... ``s5`` (coloured), ``ink``, ``grey``, ``alarm``, ``faint``. A mark or line with a
    ``tip`` shows it when pointed at or reached with the arrow keys; with a ``trial`` it is lit up together with the
    trial's other marks on the page.
    """

    def __init__(
        self, x: Scale, y: Scale, *, height: int = 240, x_title: str = "", y_title: str = "", label: str = "",
        left: int = 52, x_ticks: bool = True, y_ticks: bool = True, grid: bool = True,
    ) -> None:  # fmt: skip
        self.x, self.y, self.height, self.left = x, y, height, left
        self.x_title, self.y_title, self.label = x_title, y_title, label
        self.x_ticks, self.y_ticks, self.grid = x_ticks, y_ticks, grid
        self._stretched: list[Markup] = []
        self._marks: list[Markup] = []
        self._top: list[Markup] = []
        self._legend: list[Markup] = []

    # -- what is drawn ------------------------------------------------------------------------------------------------

    def line(
        self, xs: Any, ys: Any, series: str, *, dash: int = 0, tip: str = "", trial: int | None = None, width: str = "",
    ) -> None:  # fmt: skip
        """Draw a line through points (n,), broken where one is NaN. ``dash`` 0 to 5; width "", "thin" or "thick"."""
        path = self._path(xs, ys)
        if path:
            kind = f"line {series} d{dash} {width}".strip()
            self._stretched.append(Markup('<path class="{}" d="{}"{}/>').format(kind, path, _told(tip, trial)))

    def area(self, xs: Any, low: Any, high: Any, series: str) -> None:
        """Fill between two lines over the same xs (n,), with a gap where one of the three has none."""
        xs, low, high = np.asarray(xs), np.asarray(low, np.float64), np.asarray(high, np.float64)
        there = np.isfinite(np.ravel(self.x(xs))) & np.isfinite(np.ravel(self.y(low))) & np.isfinite(self.y(high))
        for run in np.split(np.flatnonzero(there), np.flatnonzero(np.diff(np.flatnonzero(there)) > 1) + 1):
            if len(run):
                back = run[::-1]
                around = self._path(np.concatenate([xs[run], xs[back]]), np.concatenate([low[run], high[back]]))
                self._stretched.append(Markup('<path class="area {}" d="{}Z"/>').format(series, around))

    def mark(
        self, x: Any, y: Any, series: str, *, marker: str = "circle", tip: str = "", trial: int | None = None,
    ) -> None:  # fmt: skip
        """Draw one mark: a name of MARKERS, or "cross" (diverged), "dot" (small), "ring" (stands out)."""
        across, down = self._place(x, y)
        if np.isfinite(across) and np.isfinite(down):
            self._marks.append(
                Markup('<use href="#m-{}" class="mark {}" x="{}%" y="{}"{}/>').format(
                    marker, series, _number(100 * across), _number(down), _told(tip, trial)
                )
            )

    def bar(self, x: tuple[float, float], y: tuple[float, float], series: str, *, tip: str = "") -> None:
        """Fill a rectangle between two shares of the x axis (0 to 1) and two values of y."""
        tops = [self._down(value) for value in y]
        if not np.isfinite([*x, *tops]).all():
            return
        self._marks.append(
            Markup('<rect class="bar {}" x="{}%" y="{}" width="{}%" height="{}"{}/>').format(
                series,
                _number(100 * x[0]),
                _number(min(tops)),
                _number(100 * (x[1] - x[0])),
                _number(max(1.0, abs(tops[0] - tops[1]))),
                _told(tip, None),
            )
        )

    def cell(
        self, x: tuple[float, float], y: tuple[float, float], shade: int | None, *, text: str = "", tip: str = ""
    ) -> None:
        """Fill a cell given in shares of both axes (y from below). ``shade`` 0 (pale) to 8 (full); None: no value."""
        top = self.height * (1 - y[1])
        box = (_number(100 * x[0]), _number(top), _number(100 * (x[1] - x[0])), _number(self.height * (y[1] - y[0])))
        kind = "none" if shade is None else f"h{max(0, min(8, shade))}"
        self._marks.append(
            Markup('<rect class="cell {}" x="{}%" y="{}" width="{}%" height="{}"{}/>').format(
                kind, *box, _told(tip, None)
            )
        )
        if text:
            middle = (_number(50 * (x[0] + x[1])), _number(self.height * (1 - (y[0] + y[1]) / 2) + 4))
            self._top.append(Markup('<text class="in {}" x="{}%" y="{}">{}</text>').format(kind, *middle, text))

    def shape(self, rings: Sequence[Any], shade: int) -> None:
        """Fill what lies between closed outlines, each an array (n, 2) of points: holes are outlines too."""
        path = "".join(self._path(ring[:, 0], ring[:, 1]) + "Z" for ring in rings)
        if path:
            kind = f"cell h{max(0, min(8, shade))}"
            self._stretched.append(Markup('<path class="{}" fill-rule="evenodd" d="{}"/>').format(kind, path))

    def rule(
        self, *, x: float | None = None, y: float | None = None, series: str = "ink", dash: int = 1, text: str = ""
    ) -> None:
        """Draw a line across at a value of x or of y, with words at its end; none at a value without a place."""
        if x is not None and np.isfinite(self.x(x)).all():
            across = _number(100 * float(np.ravel(self.x(x))[0]))
            self._top.append(
                Markup('<line class="line {} d{}" x1="{}%" x2="{}%" y1="0" y2="{}"/>').format(
                    series, dash, across, across, self.height
                )
            )
            if text:
                self._top.append(
                    Markup('<text class="at {}" x="{}%" y="10" dx="4">{}</text>').format(series, across, text)
                )
        if y is not None and np.isfinite(self._down(y)):
            down = _number(self._down(y))
            self._top.append(
                Markup('<line class="line {} d{}" x1="0" x2="100%" y1="{}" y2="{}"/>').format(series, dash, down, down)
            )
            if text:
                self._top.append(
                    Markup('<text class="at end {}" x="100%" y="{}" dy="-4">{}</text>').format(series, down, text)
                )

    def text(
        self, x: Any, y: Any, words: str, *, series: str = "ink", anchor: str = "start", dx: int = 0, dy: int = 0
    ) -> None:
        """Write at a point; ``anchor`` start, middle or end; ``dx``, ``dy`` pixels right and down of it."""
        across, down = self._place(x, y)
        if np.isfinite(across) and np.isfinite(down):
            self._top.append(
                Markup('<text class="at {} {}" x="{}%" y="{}" dx="{}" dy="{}">{}</text>').format(
                    series, anchor, _number(100 * across), _number(down), dx, dy, words
                )
            )

    def legend(
        self, words: str, series: str, *, marker: str = "", dash: int | None = None, shade: int | None = None
    ) -> None:
        """Name a series above the plot, with its marker or its line; or a shade of cells (``series`` unused)."""
        key = Markup("")
        if shade is not None:
            key += Markup('<rect class="cell h{}" width="22" height="12"/>').format(shade)
        if dash is not None:
            key += Markup('<line class="line {} d{} thick" x1="0" x2="22" y1="6" y2="6"/>').format(series, dash)
        if marker:
            key += Markup('<use href="#m-{}" class="mark {}" x="11" y="6"/>').format(marker, series)
        self._legend.append(
            Markup('<li><svg width="22" height="12" aria-hidden="true">{}</svg>{}</li>').format(key, words)
        )

    def frame(self, x: tuple[float, float], y: tuple[float, float], series: str = "ink") -> None:
        """Draw a thick outline around a cell given as for `cell`: it stands out, and not by its shade alone."""
        self._top.append(
            Markup('<rect class="line {} thick" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                series,
                _number(100 * x[0]),
                _number(self.height * (1 - y[1])),
                _number(100 * (x[1] - x[0])),
                _number(self.height * (y[1] - y[0])),
            )
        )

    def legend_list(self) -> Markup:
        """Return the legend alone, for plots side by side that share one."""
        if not self._legend:
            return Markup("")
        return Markup('<ul class="legend">{}</ul>').format(Markup("").join(self._legend))

    # -- the whole ----------------------------------------------------------------------------------------------------

    def svg(self) -> Markup:
        """Return the plot as HTML: a legend, the y axis, and the area with the x axis below."""
        legend = self.legend_list()
        above = Markup('<p class="y-title" aria-hidden="true">{}</p>').format(self.y_title) if self.y_title else ""
        whole = self.height + (34 if self.x_ticks and self.x_title else 20 if self.x_ticks or self.x_title else 6)
        stretched = Markup(
            '<svg class="stretch" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
        ).format(self.height, _UNITS, self.height * _FINE, Markup("").join(self._stretched))
        area = Markup('<svg class="area-box" width="100%" height="{}">{}{}{}{}{}</svg>').format(
            whole, self._grid(), stretched, Markup("").join(self._marks), Markup("").join(self._top), self._below()
        )
        left = Markup('<svg class="y-axis" width="{}" height="{}" aria-hidden="true">{}</svg>').format(
            self._room() if self.y_ticks else 8, whole, self._aside() if self.y_ticks else ""
        )
        # Where marks say something the arrow keys walk through them, so that they must reach the page's script.
        walked = 'role="application" aria-roledescription="chart" aria-describedby="keys" tabindex="0"'
        role = Markup(walked if " data-tip=" in area else 'role="img"')
        return Markup('{}{}<div class="plot" {} aria-label="{}">{}{}</div>').format(
            legend, above, role, self.label, left, area
        )

    def _grid(self) -> Markup:
        if not self.grid:
            return Markup("")
        lines = [
            Markup('<line class="grid" x1="0" x2="100%" y1="{}" y2="{}"/>').format(down, down)
            for value, _ in self._ticks(self.y)
            for down in [_number(self._down(value))]
        ]
        if not isinstance(self.x, Categories):
            lines += [
                Markup('<line class="grid" y1="0" y2="{}" x1="{}%" x2="{}%"/>').format(self.height, across, across)
                for value, _ in self._ticks(self.x)
                for across in [_number(100 * float(np.ravel(self.x(value))[0]))]
            ]
        return Markup("").join(lines)

    def _room(self) -> int:
        """Pixels for the y axis' words: numbers are never cut, since what is left of them might be the same."""
        numbers = self._ticks(self.y) if isinstance(self.y, (Linear, Log)) else ()
        return max([self.left, *(10 + 7 * len(words) for _, words in numbers)])

    def _aside(self) -> Markup:
        return Markup("").join(
            Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(
                self._room() - 8, _number(self._down(value) + 4), _cut(words, self._room() // 7)
            )
            for value, words in self._ticks(self.y)
        )

    def _below(self) -> Markup:
        out = Markup('<line class="axis" x1="0" x2="100%" y1="{}" y2="{}"/>').format(self.height, self.height)
        if self.x_ticks:
            most = 18 if not isinstance(self.x, Categories) else max(3, 90 // max(1, len(self.x.words)))
            out += Markup("").join(
                Markup('<text class="tick middle" x="{}%" y="{}">{}</text>').format(
                    _number(100 * float(np.ravel(self.x(value))[0])), self.height + 15, _cut(words, most)
                )
                for value, words in self._ticks(self.x)
            )
        if self.x_title:
            out += Markup('<text class="title middle" x="50%" y="{}">{}</text>').format(
                self.height + (31 if self.x_ticks else 15), self.x_title
            )
        return out

    @staticmethod
    def _ticks(scale: Scale) -> Sequence[tuple[Any, str]]:
        return [
            (value, words) for value, words in scale.ticks() if -1e-6 <= float(np.ravel(scale(value))[0]) <= 1 + 1e-6
        ]

    def _down(self, value: Any) -> float:
        return self.height * (1 - float(np.ravel(self.y(value))[0]))

    def _place(self, x: Any, y: Any) -> tuple[float, float]:
        return float(np.ravel(self.x(x))[0]), self._down(y)

    def _path(self, xs: Any, ys: Any) -> str:
        """Return a path's data in whole numbers, M at the beginning and after each gap; a point alone is a dash."""
        across = np.ravel(self.x(xs)) * _UNITS
        down = self.height * _FINE * (1 - np.ravel(self.y(ys)))
        there = np.isfinite(across) & np.isfinite(down)
        # What lies far off the scale is cut at the area's border by the page; here it only must not be long to write.
        across, down = (np.clip(np.nan_to_num(v), -5 * _UNITS, 5 * _UNITS).round().astype(int) for v in (across, down))
        begins = there & ~np.concatenate([[False], there[:-1]])
        alone = begins & ~np.concatenate([there[1:], [False]])
        parts = zip(*(v[there].tolist() for v in (begins, alone, across, down)), strict=True)
        return "".join(
            f"M{a - _DOT} {d} {a + _DOT} {d}" if lone else f"{'M' if first else ' '}{a} {d}"
            for first, lone, a, d in parts
        )


def _told(tip: str, trial: int | None) -> Markup:
    out = Markup("")
    if tip:
        out += Markup(' data-tip="{}"').format(tip)
    if trial is not None:
        out += Markup(' data-trial="{}"').format(trial)
    return out


def _number(value: float) -> str:
    """Write a coordinate; what lies far off the plot need only be somewhere out there."""
    text = f"{min(max(value, -1e6), 1e6):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _cut(words: str, most: int) -> Markup:
    """Shorten words that have no room; all of them stand in the table."""
    return escape(words if len(words) <= most else words[: max(1, most - 1)] + "…")
