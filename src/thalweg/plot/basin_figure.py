"""Basins of attraction: for each start the minimum a racer ends at, and how soon."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from thalweg.errors import UsageError
from thalweg.landscapes.records import BasinMap
from thalweg.plot.names import colours, fitting, literal
from thalweg.plot.theme import Theme, themed

__all__ = ["basins"]

_SIDE = 3.1  # inches of a panel
_COLUMNS = 4
_NAMED = 8  # minima in the legend; a landscape of a hundred pits would fill the page
_MOST = 0.95  # of the arrivals lie on the scale of steps; the few slow ones along a border would stretch it
_QUICK, _SLOW = 0.4, 1.0  # how much of its colour a basin has where few and where many steps were needed
_NOWHERE = {False: "#b9bec4", True: "#5c636b"}


def basins(maps: BasinMap | Sequence[BasinMap], *, dark: bool = False) -> Figure:
    """Draw basins of attraction: each start in the colour of the minimum that was reached from it.

    The stronger the colour, the more steps it took; all panels share this scale. Starts that reached no minimum
    are grey, those that diverged black and hatched. Letters stand at the minima, so that colour alone carries
    nothing, and the legend says which share of all starts ended at each.

    Args:
        maps: one map, or several on the same landscape, drawn side by side.
        dark: dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: no map, or maps of different landscapes.
    """
    found, theme = _checked(maps), themed(dark)
    columns = min(_COLUMNS, len(found))
    rows = -(-len(found) // columns)
    minima = found[0].minima
    palette = np.array([to_rgb(colour) for colour in colours(max(len(minima), 1))])
    counts = np.concatenate([one.steps[one.reached >= 0] for one in found])
    longest = max(round(float(np.quantile(counts, _MOST))), 1) if len(counts) else 1
    figure = Figure(figsize=(_SIDE * columns + 1.2, (_SIDE + 0.5) * rows + 0.9), layout="constrained")
    panels: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, one in zip(panels.flat, found, strict=False):
        _panel(axes, one, palette, longest, theme, dark)
    for axes in panels.flat[len(found) :]:
        axes.remove()
    for place, axes in enumerate(panels.flat[: len(found)]):
        axes.set_ylabel("y" if place % columns == 0 else "")
        axes.set_xlabel("x" if place + columns >= len(found) else "")
        axes.tick_params(labelbottom=place + columns >= len(found))
    _steps_bar(figure, list(panels.flat[: len(found)]), longest, theme, dark)
    _legend(figure, found, palette, dark)
    return theme.dress(figure)


def _checked(maps: Any) -> list[BasinMap]:
    found: list[Any] = [maps] if isinstance(maps, BasinMap) else list(maps) if isinstance(maps, Sequence) else []
    if not found or not all(isinstance(one, BasinMap) for one in found):
        raise UsageError("maps holds no basin maps, or something else; give one BasinMap or a list of them")
    for one in found[1:]:
        if type(one.landscape) is not type(found[0].landscape) or not np.array_equal(one.minima, found[0].minima):
            raise UsageError(
                f"maps holds the landscapes {found[0].landscape.name} and {one.landscape.name}, or maps of different "
                "minima; draw them one by one"
            )
    return found


def _share(cells: np.ndarray) -> str:
    """Return a share in per cent; what is rounded to none or to all says so."""
    share = float(cells.mean())
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _letter(place: int) -> str:
    letters = string.ascii_uppercase
    return letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]


def _panel(axes: Any, one: BasinMap, palette: np.ndarray, longest: int, theme: Theme, dark: bool) -> None:
    extent = (*_edges(one.x), *_edges(one.y))
    image = _image(one, palette, longest, theme, dark)
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest", aspect="auto")
    diverged = one.reached == -2
    if diverged.any() and diverged.sum() > 0.002 * diverged.size:
        hatch = axes.contourf(one.x, one.y, diverged.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])
        hatch.set_edgecolor("#6b7178")
        hatch.set_linewidth(0)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_box_aspect(float(np.clip(np.ptp(one.y) / np.ptp(one.x), 0.5, 1.5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    outline = [withStroke(linewidth=2.5, foreground="white")]
    for place, (x, y) in enumerate(one.minima):
        if extent[0] <= x <= extent[1] and extent[2] <= y <= extent[3] and len(one.minima) <= 26:
            axes.text(
                x, y, _letter(place), ha="center", va="center", weight="bold", color="black", path_effects=outline
            )
    middle = (
        f", half of these within {np.median(one.steps[one.reached >= 0]):.0f} steps" if (one.reached >= 0).any() else ""
    )
    literal(axes.set_title(f"{fitting(one.name, _SIDE, 11)}\n{_share(one.reached >= 0)} arrive{middle}", fontsize=9.5))


def _image(one: BasinMap, palette: np.ndarray, longest: int, theme: Theme, dark: bool) -> np.ndarray:
    """Return the colours (Q, P, 3): the minimum's, mixed with paper where few steps were needed."""
    share = _QUICK + (_SLOW - _QUICK) * np.sqrt(np.clip(one.steps / longest, 0, 1))[..., None]
    paper = np.array(to_rgb(theme.paper))
    image = share * palette[np.maximum(one.reached, 0)] + (1 - share) * paper
    image[one.reached == -1] = to_rgb(_NOWHERE[dark])
    image[one.reached == -2] = 0.0
    return np.asarray(image)


def _edges(lines: np.ndarray) -> tuple[float, float]:
    """Return where the first cell begins and the last ends, for cells around evenly spaced lines."""
    half = float(lines[-1] - lines[0]) / (2 * max(len(lines) - 1, 1))
    return float(lines[0]) - half, float(lines[-1]) + half


def _steps_bar(figure: Figure, panels: list[Any], longest: int, theme: Theme, dark: bool) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap

    paper, ink = np.array(to_rgb(theme.paper)), np.full(3, 0.45)
    ends = [share * ink + (1 - share) * paper for share in (_QUICK, _SLOW)]
    scale = LinearSegmentedColormap.from_list("steps", [tuple(end) for end in ends])
    bar = figure.colorbar(
        ScalarMappable(PowerNorm(0.5, 0, longest), scale),
        ax=panels,
        label="steps (strength of colour)",
        shrink=0.9,
        pad=0.02,
        extend="max",
    )
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))


def _legend(figure: Figure, found: list[BasinMap], palette: np.ndarray, dark: bool) -> None:
    handles = []
    for place, (x, y) in enumerate(found[0].minima[:_NAMED]):
        shares = ", ".join(_share(one.reached == place) for one in found)
        handles.append(Patch(color=palette[place], label=f"{_letter(place)} ({x:.3g}, {y:.3g}): {shares}"))
    left = len(found[0].minima) - _NAMED
    if left > 0:
        handles.append(Patch(color="none", label=f"and {left} more"))
    for code, colour, word in ((-1, _NOWHERE[dark], "no minimum reached"), (-2, "black", "diverged")):
        if any((one.reached == code).any() for one in found):
            shares = ", ".join(_share(one.reached == code) for one in found)
            patch = Patch(facecolor=colour, label=f"{word}: {shares}", edgecolor="#6b7178", linewidth=0)
            if code == -2:
                patch.set_hatch("////")
            handles.append(patch)
    columns = min(len(handles), 3 if len(found) > 1 else 2)
    title = f"{found[0].landscape.name}: the share of all starts" + (", panel by panel" if len(found) > 1 else "")
    legend = figure.legend(
        handles=handles, title=title, loc="outside lower center", ncols=columns, fontsize=9, title_fontsize=9,
        frameon=False,
    )  # fmt: skip
    literal(legend.get_title())
