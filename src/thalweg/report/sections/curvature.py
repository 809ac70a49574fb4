"""The section of the curvature: the Hessian's ends against the rates, its spectrum, and the plane of the trajectory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from thalweg.diagnostics import Curvature, PlaneRecord
from thalweg.diagnostics.curvature_record import Eigenpair
from thalweg.report.block import Lacking, Note, Part, Picture, Section, Table, Tile
from thalweg.report.records.winner_curvature import WinnerRates
from thalweg.report.sections.plane import plane_picture, spaced
from thalweg.report.svg import Categories, Linear, Log, Plot, scale_for, short

__all__ = ["curvature_section"]

_DECADES = 6  # below the highest density: what is lower is the tail of a Gaussian
_TITLE = "Curvature and trajectory"
_POINTS = 160  # of the spectrum's line
_ROWS = 40


def curvature_section(
    curvature: Curvature | Lacking, plane: PlaneRecord | Lacking, rates: WinnerRates | None = None
) -> Section:
    """Draw what is known of the curvature at the selected weights, and of the way there.

    Args:
        curvature, plane: as `report.records.winner_curvature` returns them.
        rates: the selected trial's rate and its neighbours', for a sweep.
    """
    parts: list[Part] = []
    if isinstance(curvature, Lacking) and isinstance(plane, Lacking):
        both = curvature.why if curvature.why == plane.why else f"{curvature.why} {plane.why}"
        return Section("curvature", _TITLE, (Lacking(both),), short="Curvature")
    if isinstance(curvature, Lacking):
        parts.append(curvature)
    else:
        parts.append(_tiles(curvature, rates))
        if not curvature.critical:
            parts.append(Note(_slope(curvature)))
        if rates is not None and rates.peak is not None and math.isfinite(rates.limit(curvature)):
            parts.append(_rates(curvature, rates))
        parts.append(_spectrum(curvature))
    parts.append(plane if isinstance(plane, Lacking) else plane_picture(plane))
    lead = (
        "The Hessian of the training objective (loss and penalty, all training examples) at the selected weights says "
        "how the objective bends there, and so which learning rates can stay."
    )
    return Section("curvature", _TITLE, tuple(parts), lead=lead, short="Curvature")


def _tiles(record: Curvature, rates: WinnerRates | None) -> Sequence[Tile]:
    about = {
        "minimum": "every direction bends upwards",
        "saddle": "some direction bends downwards: proof that this is no minimum",
        "maximum": "every direction bends downwards",
        "flat to rounding": "no direction bends downwards; some do not bend at all, to rounding",
    }[record.verdict]
    known = not math.isnan(record.condition)
    tiles = [
        Tile("Kind of point", record.verdict, about),
        Tile("Largest eigenvalue λmax", f"{record.largest.value:.4g}", _bound(record.largest)),
        Tile("Least eigenvalue λmin", _least(record), _bound(record.least)),
        Tile(
            "Condition number",
            (f"{'' if record.condition_exact else '≥ '}{record.condition:.3g}") if known else "not known",
            f"{_share(record.null_share)} of the directions left out, flat to rounding"
            if record.null_share > 0
            else "",
        ),
    ]
    limit = record.stable_rate() if rates is None else rates.limit(record)
    if math.isfinite(limit):
        words, terms = ("2/λmax", "") if rates is None else (rates.formula, rates.terms)
        about = "for gradient descent at a fixed rate" + (f"; {terms}" if terms else "")
        tiles.append(Tile(f"Limit of the rate {words}", f"{limit:.3g}", about))
    return tiles


def _least(record: Curvature) -> str:
    """The least eigenvalue; 0 where it is no more than rounding."""
    return f"{record.least.value:.3g}" if abs(record.least.value) > record.floor else "0"


def _share(share: float) -> str:
    return "less than 1 %" if share < 0.005 else f"about {100 * share:.0f} %"


def _bound(one: Eigenpair) -> str:
    return f"± {one.bound:.1g}" + ("" if one.converged else ", not converged")


def _slope(record: Curvature) -> str:
    return (
        f"The gradient's norm here is {record.gradient_norm:.2g}, so these weights are no minimum or saddle "
        "themselves: training stopped on the way, and the kind of point says how the objective bends where it stopped."
    )


# -- rates ------------------------------------------------------------------------------------------------------------


def _rates(record: Curvature, rates: WinnerRates) -> Picture:
    limit, peak = rates.limit(record), rates.peak
    assert peak is not None
    shown: list[tuple[str, float, str, str]] = [
        ("limit", limit, "ink", "diamond"),
        ("selected", peak, "s0", "circle"),
    ]
    if rates.largest_settled is not None:
        shown.append(("trained", rates.largest_settled, "s2", "square"))
    if rates.least_diverged is not None:
        shown.append(("diverged", rates.least_diverged, "alarm", "cross"))
    summary = _told(record, rates)
    rows = Categories(tuple(name for name, *_ in reversed(shown)))
    plot = Plot(
        scale_for([value for _, value, _, _ in shown], log=True, margin=0.15), rows, height=34 * len(shown),
        x_title=f"peak learning rate ({rates.optimizer})", left=74, label=summary, grid=False,
    )  # fmt: skip
    plot.rule(x=limit, series="faint", dash=1)
    for name, value, series, marker in shown:
        plot.mark(value, name, series, marker=marker, tip=f"{_WORDS[name]}: {value:.3g}")
        plot.text(value, name, short(float(f"{value:.3g}")), anchor="middle", dy=-9)
    table = Table(("rate", "value"), tuple((_WORDS[name], value) for name, value, _, _ in shown))
    return Picture("The limit of stability and the rates", plot.svg(), summary, table)


_WORDS = {
    "limit": "limit that the curvature sets",
    "selected": "the selected trial's peak rate",
    "trained": "the largest rate that trained to an end",
    "diverged": "the smallest rate that diverged",
}


def _told(record: Curvature, rates: WinnerRates) -> str:
    limit, peak = rates.limit(record), rates.peak
    assert peak is not None
    text = (
        f"Gradient descent at a fixed rate cannot stay at these weights beyond a rate of {limit:.3g}; the selected "
        f"trial's peak rate is {peak:.3g}, {peak / limit:.2g} of it."
    )
    if rates.least_diverged is not None:
        text += f" The smallest rate that diverged is {rates.least_diverged:.3g}."
    else:
        text += " No trial of this optimizer diverged."
    if rates.largest_settled is not None and rates.largest_settled > limit:
        text += (
            f" A rate of {rates.largest_settled:.3g} trained to an end all the same: above the limit the weights leave "
            "this place, and where the objective is flatter around it they jump about without diverging."
        )
    if not rates.theory:
        text += f" The limit is one for SGD: {rates.optimizer} scales its steps, so its rates need not heed it."
    return text


# -- spectrum ---------------------------------------------------------------------------------------------------------


def _spectrum(record: Curvature) -> Picture:
    places = np.unique(np.linspace(0, len(record.grid) - 1, _POINTS).round().astype(int))
    # The highest point is a spike that even spacing may miss.
    places = np.unique([*places.tolist(), int(record.density.argmax())])
    highest = float(record.density.max())
    lowest = highest * 10.0**-_DECADES
    grid, density = record.grid[places], np.maximum(record.density[places], lowest)
    summary = _bends(record)
    plot = Plot(
        Linear(float(record.grid[0]), float(record.grid[-1])), Log(lowest, highest * 4), height=220, label=summary,
        x_title="eigenvalue of the Hessian", y_title="density (share of directions per unit), logarithmic",
    )  # fmt: skip
    plot.area(grid, np.full(len(grid), lowest), density, "s0")
    plot.line(grid, density, "s0")
    plot.rule(x=0.0, series="faint", dash=3)
    for one, name, marker, series in ((record.largest, "λmax", "down", "s1"), (record.least, "λmin", "triangle", "s2")):
        value = _least(record) if name == "λmin" else f"{one.value:.4g}"
        plot.legend(f"{name} = {value} {_bound(one)}", series, marker=marker)
        plot.mark(one.value, lowest * 2.5, series, marker=marker, tip=f"{name} = {value} {_bound(one)}")
    rows = [(float(grid[i]), float(record.density[places[i]])) for i in spaced(len(grid), _ROWS)]
    table = Table(
        ("eigenvalue", "density"), tuple(rows), caption="the smoothed density at some places", total=len(record.grid)
    )
    return Picture("Spectrum of the Hessian", plot.svg(), summary, table)


def _bends(record: Curvature) -> str:
    error = f" ± {record.trace_error:.2g}" if math.isfinite(record.trace_error) else ""
    return (
        f"{_share(record.flat_share).capitalize()} of the {record.parameters:,} directions bend less than a thousandth "
        f"of the steepest, which bends by {record.largest.value:.3g}; the sum of all eigenvalues is "
        f"{record.trace:.3g}{error}. "
        f"Smoothed by Gaussians of width {record.broadening:.2g}, from {record.products:,} products with the Hessian "
        f"over {record.examples:,} examples." + "".join(f" Note: {note}." for note in record.notes)
    )
