"""The loss and accuracy of every trial over its epochs, thinned to what a picture can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.report.block import Lacking
from thalweg.report.records.common import finished, optimizer_of, peak_rate
from thalweg.run import Run, Trial
from thalweg.training.status import DIVERGED, INTERRUPTED, TRAINING

__all__ = ["PANELS", "Curve", "CurvesRecord", "Range", "curves_record"]

# What is drawn, from the top down, and what is written beside it.
PANELS = {
    "data_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
}
_FINE = 100  # points of a coloured curve
_POINTS = 50_000  # of all grey curves in one panel: about 0.5 MB of drawing
_FEWEST = 12  # points of a grey curve, however many there are
_ROWS = 10  # epochs in the table
_LOG = 5.0  # values that differ by more than this factor are shown by factors
_ABOVE_CHANCE = 1.5


@dataclass(frozen=True, eq=False)
class Curve:
    """One trial's curves, at ``epochs`` (k,) of those that it trained (from 1).

    ``values`` maps each of `PANELS` to an array (k,); NaN where training had left the finite numbers. ``place`` is its
    place among those in colour, None for a grey one. ``kept_epoch`` is the epoch whose weights count (0: none),
    ``left`` the last epoch of a diverged trial whose losses were finite (0: it had none), None for all others; what
    stands after it is NaN.
    """

    trial: int
    words: str
    status: str
    place: int | None
    kept_epoch: int
    left: int | None
    trained: int
    epochs: np.ndarray = field(repr=False)
    values: Mapping[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True)
class Range:
    """The axis of one panel; ``log`` by factors. ``above`` is how many curves leave it at the top."""

    low: float
    high: float
    log: bool
    above: int = 0


@dataclass(frozen=True, eq=False)
class CurvesRecord:
    """The curves of a run: those in colour first, in their order, the others in the trials' own.

    ``ranges`` has an entry for each of `PANELS` that holds a number. ``selected`` is the selected trial's number.
    ``table`` has a row (trial, epoch, training loss, validation loss, validation accuracy) for each curve in colour at
    about ten epochs. ``notes`` say what was thinned and what lies off the scales.
    """

    curves: tuple[Curve, ...]
    selected: int | None
    epochs: int
    ranges: Mapping[str, Range]
    summary: str
    table: tuple[tuple[int, int, float, float, float], ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def coloured(self) -> tuple[Curve, ...]:
        return tuple(curve for curve in self.curves if curve.place is not None)

    @property
    def diverged(self) -> tuple[Curve, ...]:
        return tuple(curve for curve in self.curves if curve.left is not None)


def curves_record(run: Run, top: int = 5) -> CurvesRecord | Lacking:
    """Return every trial's loss curves, the selected trial and the best of the others in colour.

    The training loss is the data loss, without the penalty: the mean over an epoch's minibatches, each at the weights
    that it met. Coloured curves have at most 100 points, the others so many that all together have some 50,000:
    evenly spaced epochs, the first, the last, the kept one and the last finite one always among them. An axis reaches
    down to the lowest finite value, and up to 1.5 times the loss of chance or to the highest value of the curves in
    colour, whichever is more, but no farther than the highest finite value; it goes by factors where that spans
    more than 5.

    Args:
        run: a sweep, or a fit.
        top: curves in colour, the selected trial's among them.

    Returns:
        `Lacking` where no trial has an epoch with a finite loss.
    """
    trials = [trial for trial in run.trials if _epochs(trial)]
    if not any(np.isfinite(_metric(trial, name)).any() for trial in trials for name in PANELS):
        if any(trial.status.name == TRAINING for trial in run.trials):
            return Lacking("There are no loss curves yet: no epoch is through.")
        return Lacking(
            "There are no loss curves: no trial finished an epoch with a finite loss. Lower the learning rates, "
            "or look at the checks for what stopped the trials."
        )
    shown = _in_colour(run, top)
    places = {trial.number: place for place, trial in enumerate(shown)}
    grey = [trial for trial in trials if trial.number not in places]
    most = int(np.clip(_POINTS // max(1, len(grey)), _FEWEST, _FINE))
    curves = tuple(
        _curve(trial, places.get(trial.number), _FINE if trial.number in places else most) for trial in (*shown, *grey)
    )
    ranges = _ranges(run, trials, shown)
    return CurvesRecord(
        curves=curves,
        selected=None if run.best is None else run.best.number,
        epochs=max(_epochs(trial) for trial in trials),
        ranges=ranges,
        summary=_summary(run, trials, shown),
        table=tuple(row for trial in shown for row in _rows(trial)),
        notes=tuple(_notes(run, trials, curves, ranges)),
    )


def _epochs(trial: Trial) -> int:
    return max((len(trial.history.get(name, ())) for name in PANELS), default=0)


def _metric(trial: Trial, name: str) -> np.ndarray:
    """Return a metric over the trained epochs (E,), NaN where there is none."""
    values = np.asarray(trial.history.get(name, ()), np.float64)
    return values if len(values) == _epochs(trial) else np.full(_epochs(trial), np.nan)


def _in_colour(run: Run, top: int) -> list[Trial]:
    """The selected trial, then the best of those that trained to an end; where none did, of those that may yet."""
    there = [trial for trial in run.ranked() if _epochs(trial)]
    # Of a run that goes on, or was stopped, nothing may have ended: then those that lead so far.
    ranked = [t for t in there if finished(t)] or [t for t in there if t.status.name in (INTERRUPTED, TRAINING)]
    best = [] if run.best is None else [run.best]
    return [*best, *(trial for trial in ranked if run.best is None or trial.number != run.best.number)][: max(1, top)]


def _curve(trial: Trial, place: int | None, most: int) -> Curve:
    trained = _epochs(trial)
    left = _left(trial) if trial.status.name == DIVERGED else None
    kept = _thinned(trained, most, (trial.kept_epoch, left or 0))
    return Curve(
        trial=trial.number,
        words=_words(trial),
        status=trial.status.name,
        place=place,
        kept_epoch=trial.kept_epoch,
        left=left,
        trained=trained,
        epochs=kept,
        values={
            name: np.where(kept > (trained if left is None else left), np.nan, _metric(trial, name)[kept - 1])
            for name in PANELS
        },
    )


def _left(trial: Trial) -> int:
    """The last epoch with a finite training or validation loss, 0 where none is."""
    there = np.isfinite(_metric(trial, "data_loss")) | np.isfinite(_metric(trial, "validation_loss"))
    return int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0


def _thinned(count: int, most: int, always: Iterable[int]) -> np.ndarray:
    """Return ``most`` epochs out of 1 ... count at most, evenly spaced with both ends, and those of ``always``."""
    if count <= most:
        return np.arange(1, count + 1)
    spaced = np.linspace(1, count, most).round().astype(int)
    return np.unique([*spaced.tolist(), *(epoch for epoch in always if 1 <= epoch <= count)])


def _words(trial: Trial) -> str:
    """trial 12: AdamW, rate 0.012, accuracy 0.958."""
    rate = peak_rate(trial)
    parts = [optimizer_of(trial), *([] if rate is None else [f"rate {rate:.3g}"])]
    if not trial.status.finished:
        parts.append(trial.status.name)
    if trial.status.name != DIVERGED and math.isfinite(trial.validation_accuracy):
        parts.append(f"accuracy {trial.validation_accuracy:.3f}")
    return f"trial {trial.number}: {', '.join(parts)}"


def _ranges(run: Run, trials: Sequence[Trial], shown: Sequence[Trial]) -> dict[str, Range]:
    chance = max(_chance_loss(trial, len(run.data.classes)) for trial in trials)
    found = {}
    for name in PANELS:
        columns = [_metric(trial, name) for trial in trials]
        values = np.concatenate(columns)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, high = float(values.min()), float(values.max())
        if name != "validation_accuracy":
            best = [value for trial in shown for value in _metric(trial, name) if math.isfinite(value)]
            # Without a loss of chance, and with no trial in colour, nine tenths of all values are the scale.
            bound = _ABOVE_CHANCE * chance if math.isfinite(chance) else float(np.quantile(values, 0.9))
            high = max(low, min(high, max([bound, *best])))
        above = sum(bool(np.any(np.isfinite(column) & (column > high))) for column in columns)
        found[name] = Range(low, high, name != "validation_accuracy" and low > 0 and high > _LOG * low, above)
    return found


def _chance_loss(trial: Trial, classes: int) -> float:
    """The loss where all scores are equal: ln C for softmax, C − 1 for the hinge; NaN where it is not known."""
    known = {"softmax": math.log(classes), "hinge": classes - 1.0}
    return known.get(getattr(trial.recipe.loss, "kind", ""), math.nan)


def _summary(run: Run, trials: Sequence[Trial], shown: Sequence[Trial]) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in run.statuses.items())
    one = len(run.trials) == 1
    parts = [f"{len(run.trials):,} trial{'s' * (not one)}: {counts}."]
    paired = [v for trial in trials if len(v := _finite(_metric(trial, "data_loss"))) > 1]
    if paired:
        fell = sum(values[-1] < values[0] for values in paired)
        parts.append(f"The training loss ended below its first epoch's in {fell:,} of {len(paired):,}.")
    if shown and run.best is not None and shown[0].number == run.best.number:
        parts.append(_ending(shown[0]))
    elif not shown:
        parts.append("None trained to an end, so none is in colour.")
    elif not finished(shown[0]):
        parts.append("None has trained to an end; in colour are those that lead so far.")
    return " ".join(parts)


def _ending(trial: Trial) -> str:
    """Where the selected trial's losses stand after the epoch whose weights were kept."""
    if not trial.kept_epoch:
        return f"The selected trial {trial.number} kept no epoch."
    training, validation, accuracy = (float(_metric(trial, name)[trial.kept_epoch - 1]) for name in PANELS)
    text = f"The selected trial {trial.number} stands at training loss {training:.3g}"
    if math.isfinite(validation):
        gap = validation - training
        text += f" and validation loss {validation:.3g} (validation {abs(gap):.2g} {'above' if gap >= 0 else 'below'})"
    text += f" after epoch {trial.kept_epoch} of {_epochs(trial)}"
    return text + (f", with validation accuracy {accuracy:.4f}." if math.isfinite(accuracy) else ".")


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _rows(trial: Trial) -> list[tuple[int, int, float, float, float]]:
    columns = [_metric(trial, name) for name in PANELS]
    epochs = _thinned(_epochs(trial), _ROWS, (trial.kept_epoch,))
    return [
        (trial.number, int(epoch), *(float(column[epoch - 1]) for column in columns))  # type: ignore[misc]
        for epoch in epochs
    ]


def _notes(
    run: Run, trials: Sequence[Trial], curves: Sequence[Curve], ranges: Mapping[str, Range]
) -> Iterable[str]:  # fmt: skip
    longest = max(_epochs(trial) for trial in trials)
    for grey in (False, True):
        drawn = [len(c.epochs) for c in curves if (c.place is None) is grey and len(c.epochs) < c.trained]
        if drawn:
            which = "Grey curves" if grey else "Curves in colour"
            yield (
                f"{which} are drawn at up to {max(drawn)} of {longest:,} epochs, evenly spaced, with the first, the "
                "last and the kept one."
            )
    for name, one in ranges.items():
        if one.above:
            yield (
                f"The scale of the {PANELS[name]} ends at {one.high:.3g}: of {one.above:,} "
                f"curve{'s' * (one.above > 1)} a part lies above it and is cut off."
            )
    for name in PANELS:
        if name not in ranges:
            yield f"There is no {PANELS[name]} to draw."
    if without := len(run.trials) - len(trials):
        yield f"{without:,} trial{'s have' if without > 1 else ' has'} no epoch and so no curve."
    kinds = {trial.recipe.loss.kind for trial in trials if hasattr(trial.recipe.loss, "kind")}
    if len(kinds) > 1:
        yield f"Losses of different kinds ({', '.join(sorted(kinds))}) do not compare with each other."
