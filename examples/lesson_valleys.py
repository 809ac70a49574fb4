"""Valleys and saddles: where gradient descent is slow, where it stands still, and which minimum it ends at.

    python examples/lesson_valleys.py --out valleys.png

From the left: a valley of condition number κ, its gradient field, and the ways of gradient descent and momentum in it;
the steps that both need as κ grows, at the rates that theory says are best; a saddle, from a point a hair beside its
ridge; and the four minima of Himmelblau's function, each start in the colour of the one that momentum ends at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, themed

RACERS = {
    "gradient descent": tw.optimizers.SGD(0.05, momentum=0.0),
    "momentum 0.9": tw.optimizers.SGD(0.02, momentum=0.9),
    "RMSProp": tw.optimizers.RMSProp(0.05),
}


def steps_to(condition: float, rate: float, momentum: float, goal: float = 1e-6) -> int:
    """Descend by hand on a quadratic until the distance to the minimum has shrunk to the goal; return the steps."""
    valley, x, velocity = tw.landscapes.Quadratic(condition), np.array([1.0, 1.0]), np.zeros(2)
    for step in range(1, 100_000):
        velocity = momentum * velocity - rate * valley.gradient(x)
        x = x + velocity
        if np.linalg.norm(x) < goal:
            return step
    raise RuntimeError(f"not there after {step} steps: κ = {condition}, rate {rate}")


def learn(points: int = 120, steps: int = 200) -> SimpleNamespace:
    """Race in a valley and at a saddle, count steps by κ, and map the basins on points × points starts."""
    conditions = np.array([2.0, 5, 10, 20, 50, 100, 200, 500])
    roots = np.sqrt(conditions)
    needed = {
        "gradient descent": [steps_to(k, 2 / (1 + k), 0.0) for k in conditions],  # the best constant rate
        "momentum": [
            steps_to(k, 4 / (r + 1) ** 2, ((r - 1) / (r + 1)) ** 2) for k, r in zip(conditions, roots, strict=True)
        ],
    }
    two = list(RACERS.values())[:2]
    return SimpleNamespace(
        valley=tw.race(tw.landscapes.Quadratic(35, 0.5), two, start=(-2.6, 0.4), steps=80),
        saddle=tw.race(tw.landscapes.Saddle(), list(RACERS.values()), start=(-1.7, 1e-4), steps=80),
        conditions=conditions, needed={name: np.array(counts) for name, counts in needed.items()},
        basins=tw.landscapes.basins(
            tw.landscapes.Himmelblau(), tw.optimizers.SGD(0.004, 0.9), points=points, steps=steps
        ),
    )  # fmt: skip


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the four panels."""
    theme = themed(dark)
    figure = Figure(figsize=(14, 4.3), layout="constrained")
    valley, growth, saddle, basins = figure.subplots(1, 4)
    for axes, race, title in ((valley, found.valley, "A valley, κ = 35"), (saddle, found.saddle, "A saddle")):
        (left, right), (low, high) = race.landscape.bounds
        x, y = np.linspace(left, right, 121), np.linspace(low, high, 121)
        values = race.landscape.value(np.stack(np.meshgrid(x, y), axis=-1))
        axes.contour(x, y, np.sign(values) * np.sqrt(abs(values)), levels=14, colors=theme.faint, linewidths=0.7,
                     linestyles="solid")  # fmt: skip
        places = np.stack(np.meshgrid(x[5::10], y[5::10]), axis=-1)
        down = -race.landscape.gradient(places)
        down = down / np.linalg.norm(down, axis=-1, keepdims=True)
        axes.quiver(*places.T, *down.T, color=theme.faint, scale=26, width=0.006)
        for place, (name, way) in enumerate(zip(RACERS, race.positions[:, 0], strict=False)):
            axes.plot(
                *way.T, color=theme.colour(place), linestyle=LINES[place][0], label=name, linewidth=2.6 - 0.6 * place
            )  # ways that coincide stay visible
        axes.plot(*race.starts[0], "o", color=theme.paper, markeredgecolor=theme.ink, markersize=6)
        axes.plot(0, 0, "*" if race.landscape.minima else "+", color=theme.ink, markersize=10)
        axes.set(xlim=(left, right), ylim=(low, high), title=title, xlabel="x", ylabel="y")
        axes.legend(fontsize=8, loc="upper right")
    for place, (name, counts) in enumerate(found.needed.items()):
        style, marker = LINES[place]
        growth.plot(found.conditions, counts, color=theme.colour(place), linestyle=style, marker=marker, markersize=5,
                    label=f"{name}: ~ κ^{slope(found, name):.2f}")  # fmt: skip
    growth.set(xscale="log", yscale="log", xlabel="condition number κ", ylabel="steps to a millionth of the way",
               title="Steps by condition number")  # fmt: skip
    growth.grid(alpha=0.25)
    growth.legend(fontsize=8)
    record, paper = found.basins, np.array(to_rgb(theme.paper))
    tints = [0.45 * paper + 0.55 * np.array(to_rgb(theme.colour(k))) for k in range(len(record.minima))]
    colours = ListedColormap([theme.ink, theme.faint, *tints])  # diverged, nowhere, and the minima
    basins.pcolormesh(record.x, record.y, record.reached, cmap=colours, vmin=-2.5, vmax=3.5, rasterized=True)
    for letter, (x, y) in zip("ABCD", record.minima, strict=True):
        basins.text(x, y, letter, ha="center", va="center", weight="bold", color=theme.ink)
    basins.set(title="Where momentum ends", xlabel="x of the start", ylabel="y of the start")
    return theme.dress(figure)


def slope(found: SimpleNamespace, name: str) -> float:
    """The power p of steps ~ κ^p, fitted to the four largest κ."""
    return float(np.polyfit(np.log(found.conditions[-4:]), np.log(found.needed[name][-4:]), 1)[0])


def main(out: Path = Path("lesson_valleys.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=80)
    for name, counts in found.needed.items():
        print(f"{name:16} {counts[0]} steps at κ = 2, {counts[-1]} at κ = {found.conditions[-1]:.0f}: "
              f"they grow like κ^{slope(found, name):.2f}")  # fmt: skip
    for place, name in enumerate(RACERS):
        away = np.flatnonzero(found.saddle.values[place, 0] < -1)
        left = f"leaves the saddle after {away[0]} steps" if len(away) else f"is still there after {found.saddle.steps}"
        print(f"{name:16} {left}")
    shares = [(found.basins.reached == k).mean() for k in range(4)]
    print("Of all starts momentum ends at " + ", ".join(f"{a}: {s:.0%}" for a, s in zip("ABCD", shares, strict=True)))
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_valleys.png"), help="where to write the picture")
    main(parser.parse_args().out)
