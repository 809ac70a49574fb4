"""Penalties: what L2, L1 and the elastic net do to the weights of a digit classifier.

    python examples/lesson_penalties.py --out penalties.png

A column a penalty. Above, the weights of one class against the strength λ, each at its certified optimum: L2 shrinks
them all and sets none to 0, L1 sets one after the other to exactly 0. Middle, the share that is not 0. Below, the
weights of all classes as images, at the strength that cross-validation chose (the vertical line): grey is exactly 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, themed

NAMES = {"l2": "L2:  λ Σ w²", "l1": "L1:  λ Σ |w|", "elastic_net": "elastic net:  λ Σ (½ w² + |w|)"}
SHOWN = 3  # the class whose weights are drawn as lines


def learn(count: int = 13, folds: int = 3, highest: float = 0.3, lowest: float = 1e-4) -> SimpleNamespace:
    """Fit the three paths at the same strengths, which fall by equal factors."""
    strengths = np.geomspace(highest, lowest, count)
    paths = {name: tw.path("digits", penalty=name, strengths=strengths, folds=folds, tolerance=1e-4) for name in NAMES}
    varies = np.ptp(tw.load("digits").train.features.reshape(-1, 64), axis=0) > 0
    # A pixel that is blank in every image says nothing; what rounding leaves of its weights is no weight.
    weights = {name: np.stack([s.weights * varies for s in path.solutions]) for name, path in paths.items()}
    alive = {name: (w != 0)[:, :, varies].mean(axis=(1, 2)) for name, w in weights.items()}  # w is (S, 10, 64)
    best = {name: path.choice.chosen for name, path in paths.items()}
    return SimpleNamespace(
        strengths=strengths, paths=paths, weights=weights, alive=alive, best=best, varying=varies.sum()
    )


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the picture: a column a penalty, three rows."""
    theme = themed(dark)
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(3, 3, height_ratios=(3, 1.2, 1.9), sharey="row")
    # The same four weights stand out in all panels: the largest that L1 leaves.
    chosen = found.weights["l1"][found.best["l1"], SHOWN]
    large = np.argsort(-abs(chosen))[:4]
    for (lines, shares, images), (name, formula) in zip(panels.T, NAMES.items(), strict=True):
        path, own = found.paths[name], found.weights[name]
        lines.plot(found.strengths, own[:, SHOWN], color=theme.faint, linewidth=0.7)
        for place, pixel in enumerate(large):
            label = f"row {pixel // 8 + 1}, column {pixel % 8 + 1}"
            lines.plot(found.strengths, own[:, SHOWN, pixel], color=theme.colour(place), label=label,
                       linestyle=LINES[place][0], linewidth=1.8)  # fmt: skip
        lines.set(title=formula, xticklabels=[])
        shares.plot(found.strengths, 100 * found.alive[name], color=theme.ink, marker="o", markersize=3.5)
        shares.set(xlabel="strength λ", ylim=(-5, 105))
        for axes in (lines, shares):
            axes.set_xscale("log")
            axes.axvline(path.best.strength, color=theme.alarm, linewidth=1)
            axes.spines[["top", "right"]].set_visible(False)
        images.imshow(mosaic(own[found.best[name]], to_rgb(theme.faint), to_rgb(theme.paper)))
        kept, count = np.count_nonzero(own[found.best[name]]), 10 * found.varying
        images.set_title(f"{kept} of {count} weights are not 0; {path.test.accuracy:.1%} right", fontsize=10)
        images.set_axis_off()
    panels[0, 0].set_ylabel(f"weights of the class “{SHOWN}”")
    panels[0, 1].legend(frameon=False, fontsize=8, title="pixel", title_fontsize=8)
    panels[1, 0].set_ylabel("not 0, %")
    return theme.dress(figure)


def mosaic(weights: np.ndarray, nothing: tuple, paper: tuple) -> np.ndarray:
    """Lay the templates (10, 64) out as two rows of five images, each on its own scale; exact zeros in a grey."""
    scale = abs(weights).max(axis=1, keepdims=True)
    colours = colormaps["RdBu"](0.5 + 0.5 * weights / np.where(scale > 0, scale, 1))[..., :3]
    colours[weights == 0] = nothing
    framed = np.tile(paper, (10, 9, 9, 1))
    framed[:, :8, :8] = colours.reshape(10, 8, 8, 3)
    return framed.reshape(2, 5, 9, 9, 3).swapaxes(1, 2).reshape(18, 45, 3)[:-1, :-1]


def main(out: Path = Path("lesson_penalties.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=85)
    for name, path in found.paths.items():
        chosen = found.weights[name][found.best[name]]
        kept, count = np.count_nonzero(chosen), 10 * found.varying
        print(
            f"{name:12} chosen λ = {path.best.strength:.1e}: {kept} of {count} weights "
            f"are not 0, the largest is {abs(chosen).max():.2f}, {path.test.accuracy:.1%} of the test digits right"
        )
    print(f"At λ = {found.strengths[0]:g} L2 still keeps {found.alive['l2'][0]:.0%} of the weights, L1 "
          f"{found.alive['l1'][0]:.0%}.")  # fmt: skip
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_penalties.png"), help="where to write the picture")
    main(parser.parse_args().out)
