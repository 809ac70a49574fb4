"""The look that figures share: light and dark, one palette that colour-blind readers can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thalweg.palette import DARK, LIGHT, Palette

__all__ = ["LINES", "Theme", "themed"]

# Told apart without colour: line i takes style and marker i of these.
LINES: tuple[tuple[str, str], ...] = (
    ("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ((0, (5, 1, 1, 1, 1, 1)), "v"), ((0, (8, 2)), "P"),
)  # type: ignore[assignment]  # fmt: skip


@dataclass(frozen=True)
class Theme(Palette):
    """The colours of a figure; things shown at once have a style of `LINES` too."""

    def dress(self, figure: Figure) -> Figure:
        """Give paper and ink to a finished figure, its axes, texts and legends. Returns it."""
        figure.set_facecolor(self.paper)
        for axes in figure.axes:
            self._dress_axes(axes)
        for text in figure.texts:
            text.set_color(self.ink)
        for legend in figure.legends:
            self._dress_legend(legend)
        return figure

    def _dress_axes(self, axes: Axes) -> None:
        axes.set_facecolor(self.paper)
        axes.tick_params(which="both", colors=self.ink)
        for spine in axes.spines.values():
            spine.set_edgecolor(self.faint)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText):
            text.set_color(self.ink)
        if axes.get_legend() is not None:
            self._dress_legend(axes.get_legend())

    def _dress_legend(self, legend: Any) -> None:
        legend.get_frame().set_facecolor(self.paper)
        legend.get_frame().set_edgecolor(self.faint)
        legend.get_title().set_color(self.ink)
        for text in legend.get_texts():
            text.set_color(self.ink)


_LIGHT, _DARK = Theme(**vars(LIGHT)), Theme(**vars(DARK))


def themed(dark: bool = False) -> Theme:
    """Return the colours for light paper, or for dark."""
    return _DARK if dark else _LIGHT
