"""Schedules: seven ways to lower a learning rate, and what each does to the loss.

    python examples/lesson_schedules.py --out schedules.png

A column a schedule: above, the learning rate by step; below, the objective of a softmax classifier of digits trained by
SGD in small batches, in front of all the others. At a constant rate the noise of the batches keeps it from the minimum;
whatever ends at a low rate comes nearer. Each restart throws it back up, and the cycle brings it down again. All seven
train in one compiled program, for a schedule is no more than a list of rates to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import themed


def schedules(rate: float) -> dict[str, tw.schedules.Schedule]:
    """Seven schedules that begin (or end their warm-up) at the same rate."""
    s = tw.schedules
    return {
        "constant": s.Constant(rate),
        "step": s.Step(rate, at=(0.5, 0.75), unit="run"),
        "linear": s.Linear(rate),
        "cosine": s.Cosine(rate),
        "warm-up, cosine": s.Warmup(0.1, s.Cosine(rate), unit="run"),
        "inverse square root": s.InverseSqrt(rate),
        "warm restarts": s.CosineRestarts(rate, 0.2, unit="run"),
    }


def learn(rate: float = 1.5, epochs: int = 20, batch: int = 16) -> SimpleNamespace:
    """Train digits with each schedule, the batches in the same order; all else alike."""
    made = schedules(rate)
    recipe = tw.Recipe(
        penalty=tw.penalties.L2(1e-3),
        optimizer=tw.choice(*(tw.optimizers.SGD(schedule) for schedule in made.values())),
        batch_size=batch, epochs=epochs,
    )  # fmt: skip
    run = tw.sweep(recipe, "digits", search="grid", refit=False)
    per_epoch = -(-run.data.examples["train"] // batch)
    steps = np.arange(per_epoch * epochs)
    rates = {
        name: np.asarray(schedule.bind(steps=len(steps), steps_per_epoch=per_epoch, batch_size=batch)(steps))
        for name, schedule in made.items()
    }
    curves = {name: t.history["data_loss"] + t.history["penalty"] for name, t in zip(made, run.trials, strict=True)}
    return SimpleNamespace(steps=steps, rates=rates, curves=curves, run=run)


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the picture: seven columns, the rate above, the objective below."""
    theme = themed(dark)
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, len(found.rates), sharey="row", height_ratios=(1, 1.5))
    lowest = min(curve.min() for curve in found.curves.values())
    epochs = np.arange(1, len(found.curves["constant"]) + 1)
    for place, (rate, loss, name) in enumerate(zip(upper, lower, found.rates, strict=True)):
        rate.fill_between(found.steps, found.rates[name], color=theme.colour(place), alpha=0.18, linewidth=0)
        rate.plot(found.steps, found.rates[name], color=theme.colour(place))
        rate.set_title(name, fontsize=10)
        rate.set(xlabel="step", xticks=[0, len(found.steps)])
        for other in found.curves.values():
            loss.plot(epochs, other, color=theme.faint, linewidth=0.8)
        curve = found.curves[name]
        loss.plot(epochs, curve, color=theme.colour(place), linewidth=2)
        loss.plot(epochs[-1], curve[-1], "o", color=theme.colour(place))
        loss.text(
            0.97, 0.95, f"ends at {curve[-1]:.4f}", transform=loss.transAxes, ha="right", va="top", color=theme.ink
        )
        loss.axhline(lowest, color=theme.ink, linestyle=":", linewidth=0.8)
        loss.set(yscale="log", xlabel="epoch", ylim=(0.95 * lowest, 4.5 * lowest))
        for axes in (rate, loss):
            axes.spines[["top", "right"]].set_visible(False)
    ticks = [0.1, 0.2, 0.4]
    lower[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lower[0].set_yticks([], minor=True)
    upper[0].set_ylabel("learning rate")
    lower[0].set_ylabel("objective")
    return theme.dress(figure)


def main(out: Path = Path("lesson_schedules.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=85)
    for name, curve in found.curves.items():
        print(f"{name:20} ends at rate {found.rates[name][-1]:.1e}; objective {curve[-1]:.4f}, "
              f"at half time {curve[len(curve) // 2 - 1]:.4f}")  # fmt: skip
    order = sorted(found.curves, key=lambda name: found.curves[name][-1])
    print(f"Lowest at the end: {order[0]}; highest: {order[-1]}. {len(found.run.trials)} trials trained in "
          f"{len({trial.cohort for trial in found.run.trials})} program.")  # fmt: skip
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_schedules.png"), help="where to write the picture")
    main(parser.parse_args().out)
