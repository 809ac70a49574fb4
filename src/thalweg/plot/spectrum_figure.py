"""The picture of a Hessian's spectrum: the density of its eigenvalues on a logarithmic scale, and the two ends."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thalweg.diagnostics.curvature_record import Curvature, Eigenpair
from thalweg.plot.theme import Theme, themed

__all__ = ["spectrum"]

_DECADES = 6  # below the highest density: what is lower is the tail of a Gaussian


def spectrum(record: Curvature, *, dark: bool = False) -> Figure:
    """Draw the spectral density of the Hessian, and its extreme eigenvalues with their intervals.

    Most eigenvalues of a trained model lie near 0 and a few, about as many as there are classes, stand apart:
    so the density's axis is logarithmic. Bars of ± the bound show how far each end is known; they are
    mostly thinner than the line.

    Args:
        record: what `diagnostics.curvature` returned.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.
    """
    theme = themed(dark)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    lowest = record.density.max() * 10.0**-_DECADES
    shown = np.maximum(record.density, lowest)
    axes.fill_between(record.grid, lowest, shown, color=theme.colour(0), alpha=0.25, linewidth=0)
    axes.plot(record.grid, shown, color=theme.colour(0), linewidth=1.4)
    axes.set(yscale="log", ylim=(lowest, record.density.max() * 4), xlim=(record.grid[0], record.grid[-1]))
    _end(axes, theme, record.largest, "λmax", "v", 1)
    _end(axes, theme, record.least, "λmin", "^", 2)
    axes.axvline(0, color=theme.ink, linewidth=0.8, linestyle=":")
    axes.set_xlabel("eigenvalue of the Hessian")
    axes.set_ylabel("density (share of directions per unit)")
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(record), fontsize=11)
    figure.supxlabel(textwrap.fill(_caption(record), 92), fontsize=8)
    return theme.dress(figure)


def _end(axes: Axes, theme: Theme, one: Eigenpair, name: str, marker: str, place: int) -> None:
    low, high = one.interval
    label = f"{name} = {one.value:.4g} ± {one.bound:.1g}" + ("" if one.converged else ", not converged")
    colour = theme.colour(place)
    axes.axvspan(low, high, color=colour, alpha=0.3, linewidth=0)
    axes.plot(
        [one.value], [0.03], marker=marker, color=colour, markersize=9, linestyle="none", label=label,
        transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip


def _title(record: Curvature) -> str:
    what = record.verdict if record.critical else f"no critical point; it curves like a {record.verdict}"
    if not record.critical and record.verdict == "flat to rounding":
        what = "no critical point; no negative curvature found"
    return f"{record.parameters:,} weights: {what} (gradient norm {record.gradient_norm:.2g})"


def _caption(record: Curvature) -> str:
    exactly = "" if record.condition_exact else "at least "
    condition = f"Condition number {exactly}{record.condition:.3g}, flat directions left out. "
    return (
        f"{condition if np.isfinite(record.condition) else ''}2/λmax = {record.stable_rate():.3g}. About "
        f"{record.flat_share:.0%} of the directions bend less than a thousandth of the steepest. "
        f"{len(record.nodes)} Krylov spaces of up to {record.nodes.shape[1]} dimensions over {record.examples:,} "
        f"examples, smoothed by Gaussians of width {record.broadening:.2g}. " + " ".join(record.notes)
    )
