"""Gradients: numeric against analytic, the best step size, and a check that finds planted bugs.

    python examples/lesson_gradients.py --out gradients.png

Left, how far three difference formulas lie from the analytic gradient, by their step h: a long step bends (the error
falls like h or h²), a short one drowns in rounding (it rises like 1/h); the complex step subtracts nothing and has no
such limit. Right, four versions of the same gradient, three of them wrong: a dot is one entry's relative error beside
the central difference, and the word is the verdict of `tw.gradcheck`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, themed

STRENGTH = 1e-2
ORDERS = {"forward": "error ~ h", "central": "error ~ h²", "complex": "no subtraction"}


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Sixty images of the digits 0, 1 and 2 as 4 × 4 pixels (60, 16), and their labels."""
    digits = tw.load("digits").train
    chosen = np.flatnonzero(digits.labels < 3)[:60]
    images = digits.features[chosen].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)) / 16
    return images.reshape(-1, 16).astype(np.float64), digits.labels[chosen]


X, Y = problem()
RIGHT = np.eye(3)[Y]  # (60, 3): 1 at the right class


def f(W):
    """Mean softmax loss + λ Σ W² of the linear scores X Wᵀ; W is (3, 16), real or complex."""
    scores = X @ W.T
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - (RIGHT * scores).sum(axis=1)) + STRENGTH * np.sum(W * W)


def gradient(W, decay=2.0, mean=1.0):
    """(P − Y)ᵀ X / N + 2 λ W, by hand: P are the softmax probabilities (60, 3)."""
    powers = np.exp(X @ W.T)
    return mean * (powers / powers.sum(axis=1, keepdims=True) - RIGHT).T @ X / len(X) + decay * STRENGTH * W


def slip(W):
    """One entry of 48 is off by a tenth of a per cent."""
    found = gradient(W)
    found[1, 7] *= 1.001
    return found


VERSIONS = {
    "as derived": gradient,
    "penalty without its 2": lambda W: gradient(W, decay=1.0),
    "sum, not mean": lambda W: gradient(W, mean=len(X)),
    "one entry off by 0.1 %": slip,
}


def learn(steps: int = 46) -> SimpleNamespace:
    """Measure the three formulas at ``steps`` sizes of h, and check the four versions, at one random point."""
    W = np.random.default_rng(0).normal(size=(3, 16))
    exact, sizes = gradient(W), np.logspace(-15, 0, steps)
    size = abs(exact).max()
    errors = {
        scheme: np.array([abs(tw.gradients.numeric_gradient(f, W, scheme, h) - exact).max() / size for h in sizes])
        for scheme in ORDERS
    }
    numeric = tw.gradients.numeric_gradient(f, W)
    claims = {name: version(W) for name, version in VERSIONS.items()}
    return SimpleNamespace(
        sizes=sizes, errors=errors, verdicts={name: tw.gradcheck(f, W, g) for name, g in VERSIONS.items()},
        apart={name: (abs(a - numeric) / np.maximum(abs(a), abs(numeric))).ravel() for name, a in claims.items()},
    )  # fmt: skip


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the two panels."""
    theme = themed(dark)
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    for place, (scheme, order) in enumerate(ORDERS.items()):
        shown = np.maximum(found.errors[scheme], 1e-17)  # an error of 0 has no place on a logarithmic axis
        style, marker = LINES[place]
        left.plot(found.sizes, shown, color=theme.colour(place), linestyle=style, marker=marker, markersize=3.5,
                  label=f"{scheme}: {order}")  # fmt: skip
    left.axhline(np.finfo(float).eps, color=theme.faint, linewidth=1)
    left.text(2e-3, 1.4 * np.finfo(float).eps, "ε of float64", color=theme.ink, fontsize=8)
    left.set(xscale="log", yscale="log", xlabel="step h", ylabel="largest error / largest entry", ylim=(1e-17, 3),
             title="Too long a step bends, too short a one is rounded")  # fmt: skip
    left.legend(frameon=False, fontsize=9, loc="upper center")
    generator = np.random.default_rng(0)  # spreads dots that would hide each other, no more
    for row, (name, verdict) in enumerate(found.verdicts.items()):
        errors = np.maximum(found.apart[name], 1e-14)
        heights, off = row + generator.uniform(-0.16, 0.16, len(errors)), errors > 1e-6
        for which, colour, marker in ((~off, theme.colour(2), "o"), (off, theme.alarm, "X")):
            right.plot(errors[which], heights[which], marker, color=colour, markersize=5, alpha=0.75, markeredgewidth=0)
        right.text(
            5, row, verdict.status, color=theme.colour(2) if verdict else theme.alarm, weight="bold", va="center"
        )
    right.set(
        xscale="log",
        xlim=(1e-14, 4e2),
        ylim=(len(VERSIONS) - 0.5, -0.6),
        yticks=range(len(VERSIONS)),
        xlabel="relative error of each of the 48 entries",
        title="Four versions of one gradient, and the verdict",
    )
    right.set_yticklabels(VERSIONS, fontsize=10)
    right.set_xticks(10.0 ** np.arange(-14, 1, 2))
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return theme.dress(figure)


def main(out: Path = Path("lesson_gradients.png"), steps: int = 46) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(steps)
    draw(found).savefig(out, dpi=90)
    for scheme, errors in found.errors.items():
        print(
            f"{scheme:8} best at h = {found.sizes[errors.argmin()]:.0e}: off by {errors.min():.0e} of the largest entry"
        )
    for name, verdict in found.verdicts.items():
        hints = f"; looks like: {verdict.hints[0]}" if verdict.hints else ""
        print(f"{name:23} {verdict.status}, {verdict.evaluations} evaluations{hints}")
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_gradients.png"), help="where to write the picture")
    main(parser.parse_args().out)
