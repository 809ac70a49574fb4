"""The section with the map of two searched numbers."""

from __future__ import annotations

import numpy as np

from thalweg.report.block import Cell, Lacking, Picture, Section, Table
from thalweg.report.records.rate_map import MapAxis, RateMapRecord
from thalweg.report.sections.naming import shortened
from thalweg.report.svg import Linear, Log, Plot, short

__all__ = ["rate_map_section", "shades"]

_TITLE = "Two hyperparameters together"
_SHADES = 9
_ROW = 34  # pixels
_ROWS = 60


def rate_map_section(record: RateMapRecord | Lacking) -> Section:
    """Return the section that shows `records.rate_map`."""
    if isinstance(record, Lacking):
        return Section("rate-map", _TITLE, (record,), short="Map")
    names = f"{shortened(record.x.short)} and {shortened(record.y.short)}"
    picture = Picture(f"Best accuracy by {names}", _drawn(record).svg(), _summary(record), _table(record), wide=True)
    lead = (
        "Each cell holds the best validation accuracy of the trials in it. A ridge that runs aslant says that the two "
        "numbers trade off; a best cell at the border, that the search may have been too narrow."
    )
    return Section("rate-map", _TITLE, (picture,), lead=lead, short="Map")


def shades(best: np.ndarray) -> np.ndarray:
    """Return the shade of each cell, 0 for the lowest accuracy to 8 for the highest, −1 where there is none."""
    known = best[np.isfinite(best)]
    out = np.full(best.shape, -1)
    if len(known):
        low, span = known.min(), np.ptp(known)
        share = (best - low) / span if span else np.ones(best.shape)
        out = np.where(np.isfinite(best), np.minimum(np.nan_to_num(share) * _SHADES, _SHADES - 1).astype(int), -1)
    return out


def _drawn(record: RateMapRecord) -> Plot:
    x, y = _Cells(record.x), _Cells(record.y)
    dash = "; –: none finished" if (np.isnan(record.best) & (record.trials > record.diverged)).any() else ""
    outlined = "" if record.winner is None else "; outlined: the selected trial's"
    above = f"{shortened(record.y.short)} (in the cells: best accuracy in %{dash}{outlined})"
    rows, columns = record.best.shape
    plot = Plot(
        x, y, height=_ROW * rows, x_title=shortened(record.x.short), y_title=above, label=_summary(record), grid=False,
    )  # fmt: skip
    shade = shades(record.best)
    across, up = np.linspace(0, 1, columns + 1).tolist(), np.linspace(0, 1, rows + 1).tolist()
    for row in range(rows):
        for column in range(columns):
            if not record.trials[row, column]:
                continue
            box = ((across[column], across[column + 1]), (up[row], up[row + 1]))
            best = record.best[row, column]
            known = bool(np.isfinite(best))
            text = f"{100 * best:.1f}" if known else "" if record.only_diverged[row, column] else "–"
            plot.cell(*box, int(shade[row, column]) if known else None, text=text, tip=_tip(record, row, column))
            if record.only_diverged[row, column]:
                plot.mark(x.place(column), y.place(row), "alarm", marker="cross")
    if record.winner is not None:
        row, column = record.winner
        plot.frame((across[column], across[column + 1]), (up[row], up[row + 1]))
    if record.only_diverged.any():
        plot.legend("all trials diverged", "alarm", marker="cross")
    return plot


class _Cells:
    """A scale over k cells of equal width, written on at their edges, or in their middles where each holds a value."""

    def __init__(self, axis: MapAxis) -> None:
        self.axis = axis

    def __call__(self, values: object) -> np.ndarray:
        return np.asarray(values, np.float64) / self.axis.cells

    def place(self, cell: int) -> float:
        """Return what the scale takes for the middle of a cell."""
        return cell + 0.5

    def ticks(self) -> list[tuple[float, str]]:
        axis = self.axis
        if axis.edges is None:
            return [(self.place(cell), short(axis.ends(cell)[0])) for cell in range(axis.cells)]
        low, high = float(axis.edges[0]), float(axis.edges[-1])
        inner = Log(low, high) if axis.log else Linear(low, high)
        return [(float(np.ravel(inner(value))[0]) * axis.cells, words) for value, words in inner.ticks()]


def _tip(record: RateMapRecord, row: int, column: int) -> str:
    best = record.best[row, column]
    result = f"best {best:.3f}" if np.isfinite(best) else "none finished"
    trials, diverged = int(record.trials[row, column]), int(record.diverged[row, column])
    lost = f", {diverged} diverged" if diverged else ""
    return f"{result}; {trials} trial{'s' * (trials > 1)}{lost}; {_where(record, row, column)}"


def _where(record: RateMapRecord, row: int, column: int) -> str:
    return f"{_span(record.x, column)}, {_span(record.y, row)}"


def _span(axis: MapAxis, place: int) -> str:
    return f"{shortened(axis.short)} {' to '.join(short(float(f'{end:.2g}')) for end in axis.ends(place))}"


def _summary(record: RateMapRecord) -> str:
    cells, tried, lost = record.best.size, int((record.trials > 0).sum()), int(record.only_diverged.sum())
    parts = [f"{int(record.trials.sum()):,} trials lie in {tried} of {cells} cells; in {lost} of them all diverged."]
    if record.top is None:
        parts.append("No trial finished.")
    else:
        parts.append(f"The best accuracy, {np.nanmax(record.best):.3f}, lies at {_where(record, *record.top)}.")
    if record.winner is not None and record.winner != record.top:
        parts.append(f"The selected trial lies at {_where(record, *record.winner)}.")
    if record.left_out:
        parts.append(f"{record.left_out:,} trials have not both numbers, and no place here.")
    return " ".join(parts)


def _table(record: RateMapRecord) -> Table:
    cells = [(int(row), int(column)) for row, column in np.argwhere(record.trials > 0)]
    cells.sort(key=lambda cell: -np.nan_to_num(record.best[cell], nan=-1.0))
    columns = (*_headings(record.x), *_headings(record.y), "best accuracy", "trials", "diverged")
    strong = cells.index(record.winner) if record.winner in cells[:_ROWS] else None
    rows = tuple(_row(record, *cell) for cell in cells[:_ROWS])
    return Table(columns, rows, caption="A row a cell with trials, the best first", strong=strong, total=len(cells))


def _headings(axis: MapAxis) -> tuple[str, ...]:
    name = shortened(axis.short)
    return (name,) if axis.edges is None else (f"{name} from", "to")


def _row(record: RateMapRecord, row: int, column: int) -> tuple[Cell, ...]:
    best = float(record.best[row, column])
    ends = (*record.x.ends(column), *record.y.ends(row))
    return (
        *ends, best if np.isfinite(best) else None, int(record.trials[row, column]), int(record.diverged[row, column]),
    )  # fmt: skip
