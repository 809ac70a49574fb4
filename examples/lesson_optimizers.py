"""Optimisers: the character of six of them, in a valley and on digits.

    python examples/lesson_optimizers.py --out optimizers.png

Above, their ways in a valley thirty times as steep across as along, each at the best of 25 learning rates: SGD jitters
across, momentum swings, Nesterov's momentum damps the swings; AdaGrad, RMSProp and Adam measure x and y by their own
slopes and see no valley. Below, one sweep in which all six train a softmax classifier of digits at many rates: left,
what each reaches by its rate; right, its way there at its best rate.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, themed

MAKE = {
    "SGD": lambda rate: tw.optimizers.SGD(rate, momentum=0.0),
    "momentum": lambda rate: tw.optimizers.SGD(rate, momentum=0.9),
    "Nesterov": lambda rate: tw.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "AdaGrad": tw.optimizers.AdaGrad,
    "RMSProp": tw.optimizers.RMSProp,
    "Adam": tw.optimizers.Adam,
}


VALLEY = tw.landscapes.Quadratic(condition=30)


def learn(steps: int = 60, points: int = 11, epochs: int = 10) -> SimpleNamespace:
    """Race for so many steps; train on digits at so many rates, from 1e-4 to 10, for so many epochs."""
    race, _ = tw.landscapes.race_tuned(
        VALLEY, list(MAKE.values()), start=(-2.5, 1.5), steps=steps, rates=np.geomspace(1e-3, 1, 25)
    )
    rates = tw.log_uniform(1e-4, 10)
    recipe = tw.Recipe(
        penalty=tw.penalties.L2(1e-3),  # without one the loss of separable digits has no minimum to compare with
        optimizer=tw.choice(*(make(rates) for make in MAKE.values())),
        batch_size=64, epochs=epochs,
    )  # fmt: skip
    run = tw.sweep(recipe, "digits", search="grid", points=points, refit=False)
    curves = np.array([trial.history["data_loss"] + trial.history["penalty"] for trial in run.trials])
    curves = curves.reshape(len(MAKE), points, epochs)  # a grid takes the optimisers in turn, and of each rate by rate
    best = np.nanargmin(curves[:, :, -1], axis=1)
    return SimpleNamespace(
        race=race, rates=np.geomspace(1e-4, 10, points), run=run, names=list(MAKE), best=best, curves=curves
    )


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return six small panels above two large ones."""
    theme = themed(dark)
    figure = Figure(figsize=(12.6, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.4))
    panels = above.subplots(1, 6, sharex=True, sharey=True)
    x, y = np.linspace(-3, 1.2, 161), np.linspace(-2, 2, 161)
    ground = np.sqrt(VALLEY.value(np.stack(np.meshgrid(x, y), axis=-1)))
    for place, (axes, name) in enumerate(zip(panels, found.names, strict=True)):
        axes.contour(x, y, ground, levels=14, colors=theme.faint, linewidths=0.6)
        axes.plot(*found.race.positions[place, 0].T, ".-", color=theme.colour(place), linewidth=1.3, markersize=3.5)
        axes.plot(*found.race.starts[0], "o", color=theme.paper, markeredgecolor=theme.ink, markersize=5)
        axes.plot(0, 0, "*", color=theme.ink, markersize=9)
        rate = found.race.names[place].split()[-1]
        axes.set(xlim=(-3, 1.2), ylim=(-2, 2), xlabel=f"f = {found.race.values[place, 0, -1]:.0e}")
        axes.set_title(f"{name}, rate {rate}", fontsize=10)
    left, right = below.subplots(1, 2)
    for place, name in enumerate(found.names):
        style, marker = LINES[place]
        look = {"color": theme.colour(place), "linestyle": style, "marker": marker, "markersize": 4.5, "label": name}
        left.plot(found.rates, found.curves[place, :, -1], **look)
        way = found.curves[place, found.best[place]]
        right.plot(np.arange(1, len(way) + 1), way, **look)
    left.set(
        xscale="log", xlabel="learning rate", ylabel="objective at the end", ylim=(0.09, 6), title="Digits, by rate"
    )
    right.set(xlabel="epoch", ylabel="objective", ylim=(0.09, 1.1), title="Digits, each at its best rate")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_yticks(ticks := [0.1, 0.2, 0.5, 1, 2, 5], [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    right.set_ylim(0.09, 1.1)
    right.legend(frameon=False, ncols=2, fontsize=9)
    return theme.dress(figure)


def main(out: Path = Path("lesson_optimizers.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=85)
    for place, name in enumerate(found.names):
        ends, value = found.curves[place, :, -1], found.race.values[place, 0, -1]
        good = found.rates[ends < 1.5 * ends.min()]
        print(
            f"{name:9} valley: f = {value:.0e} after {found.race.steps} steps. Digits: {ends.min():.3f} at rate "
            f"{found.rates[found.best[place]]:.2g}, at most half as much again from {good[0]:.2g} to {good[-1]:.2g}"
        )
    print(f"{len(found.run.trials)} trials trained in {found.run.seconds['total']:.1f} s, compiling included.")
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_optimizers.png"), help="where to write the picture")
    main(parser.parse_args().out)
