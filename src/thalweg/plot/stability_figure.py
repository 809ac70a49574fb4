"""The stability map: where gradient descent with momentum converges, and how fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from thalweg.landscapes.records import StabilityMap
from thalweg.plot.theme import Theme, themed

__all__ = ["stability"]

# Bands of the factor per step, narrower towards 1: from 0.98 to 0.99 the steps that are needed double.
_BANDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_GROWS = {False: "#e4e6e9", True: "#2b3036"}


def stability(record: StabilityMap, *, dark: bool = False) -> Figure:
    """Draw the measured factor by which the error shrinks a step, by learning rate and momentum.

    The factor is cut at 1: where it is above, the error grows, and all of that is one hatched grey. Below, the
    colours are bands, narrower towards 1, where a little costs many steps. The line is theory's boundary: there
    the spectral radius of the iteration is 1, for heavy-ball momentum ρ and largest curvature L at the rate
    2(1 + ρ)/L (Polyak 1964). A star marks the least factor measured.

    Args:
        record: a stability map.
        dark: dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.
    """
    theme = themed(dark)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes: Any = figure.add_subplot()
    drawn = _cells(axes, record, dark)
    bar = figure.colorbar(
        drawn, ax=axes, label="factor of the error per step", ticks=_BANDS, spacing="uniform", pad=0.02
    )
    bar.ax.set_yticklabels([f"{band:g}" for band in _BANDS])
    stable = np.isfinite(record.boundary)
    outline = theme.paper
    axes.plot(record.boundary[stable], record.momenta[stable], color=outline, linewidth=4.5, zorder=3)
    axes.plot(record.boundary[stable], record.momenta[stable], color=theme.ink, linewidth=2, zorder=4)
    handles: list[Any] = [Line2D([], [], color=theme.ink, linewidth=2, label="theory: spectral radius 1")]
    handles += _best(axes, record, theme)
    handles.append(Patch(facecolor=_GROWS[dark], edgecolor=theme.faint, hatch="////", linewidth=0, label="grows"))
    axes.set(xlabel="learning rate", ylabel="momentum ρ", title=_title(record))
    _frame(axes, record)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return theme.dress(figure)


def _cells(axes: Any, record: StabilityMap, dark: bool) -> Any:
    palette = ListedColormap(colormaps["viridis"](np.linspace(0.02, 0.98, len(_BANDS) - 1)))
    norm = BoundaryNorm(_BANDS, palette.N)
    shrinks = np.isfinite(record.rate) & (record.rate < 1)
    axes.set_facecolor(_GROWS[dark])
    shown = np.ma.masked_array(record.rate, ~shrinks)
    edges = _edges(record.learning_rates), _edges(record.momenta)
    grows = axes.pcolormesh(
        *edges, np.ma.masked_array(np.zeros(record.rate.shape), shrinks), cmap=ListedColormap([_GROWS[dark]])
    )
    grows.set_rasterized(True)
    if (~shrinks).any() and shrinks.any():
        hatch = axes.contourf(
            record.learning_rates, record.momenta, (~shrinks).astype(float), levels=[0.5, 1.5], colors="none",
            hatches=["////"],
        )  # fmt: skip
        hatch.set_edgecolor("#c4c9cf" if not dark else "#4a5058")
        hatch.set_linewidth(0)
    return axes.pcolormesh(*edges, shown, cmap=palette, norm=norm, rasterized=True, zorder=2)


def _geometric(lines: np.ndarray) -> bool:
    """Whether a grid's lines rise by a factor rather than by a step."""
    if len(lines) < 3 or (lines <= 0).any():
        return False
    return bool(np.ptp(np.diff(np.log(lines))) < np.ptp(np.diff(lines)) / lines.mean())


def _edges(lines: np.ndarray) -> np.ndarray:
    """Return the cells' edges: halfway between the lines, on a log scale where they rise by a factor."""
    lines = np.asarray(lines, np.float64)
    scaled = np.log(lines) if _geometric(lines) else lines
    if len(scaled) == 1:
        return np.array([lines[0] - 0.5, lines[0] + 0.5])
    middles = (scaled[1:] + scaled[:-1]) / 2
    edges = np.concatenate([[2 * scaled[0] - middles[0]], middles, [2 * scaled[-1] - middles[-1]]])
    return np.exp(edges) if _geometric(lines) else edges


def _best(axes: Any, record: StabilityMap, theme: Theme) -> list[Line2D]:
    measured = np.where(np.isfinite(record.rate), record.rate, np.inf)
    row, column = np.unravel_index(int(measured.argmin()), measured.shape)
    least = float(measured[row, column])
    if not least < 1:
        return []
    rate, momentum = float(record.learning_rates[column]), float(record.momenta[row])
    axes.plot(rate, momentum, "*", color="white", markeredgecolor="black", markersize=16, zorder=6, clip_on=False)
    label = f"best: rate {rate:.3g}, ρ = {momentum:.3g}, factor {least:.3g}"
    return [
        Line2D([], [], linestyle="", marker="*", color="white", markeredgecolor="black", markersize=13, label=label)
    ]


def _title(record: StabilityMap) -> str:
    kind = "Nesterov's momentum" if record.nesterov else "momentum"
    shown = ", ".join(f"{curvature:.3g}" for curvature in record.curvatures[:4])
    more = ", …" if len(record.curvatures) > 4 else ""
    return f"Gradient descent with {kind} on a quadratic, curvatures {shown}{more}"


def _frame(axes: Any, record: StabilityMap) -> None:
    if _geometric(record.learning_rates):
        axes.set_xscale("log")
    along, up = _edges(record.learning_rates), _edges(record.momenta)
    axes.set_xlim(along[0], along[-1])
    axes.set_ylim(up[0], up[-1])
