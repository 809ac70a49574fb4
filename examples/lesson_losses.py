"""Losses: what the softmax and the multiclass hinge each care about, on the same scores and the same data.

    python examples/lesson_losses.py --out losses.png

Left, both losses and their pull on the true class's score, by how far that score is ahead: the hinge is content from a
margin of 1 on, the softmax never. Right, three classes in the plane and the linear classifier that is best by each
loss. A mark's area is how hard the example pulls at the borders: by the hinge few examples hold them, by the softmax
all do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, Theme, themed

LOSSES = {"softmax": tw.losses.Softmax(), "hinge": tw.losses.Hinge()}
CENTRES = np.array([(0.0, 1.3), (-1.4, -0.8), (1.4, -0.8)])


def pull(loss, scores, labels) -> np.ndarray:
    """How hard each example (N,) pushes its scores: ½ Σ_j |∂L/∂s_j|, so 1 − p_y, or the classes within the margin."""
    gradient = jax.grad(lambda s: loss(s, jnp.asarray(labels)).sum())(jnp.asarray(scores, jnp.float32))
    return np.asarray(0.5 * jnp.abs(gradient).sum(axis=1))


def learn(examples: int = 80) -> SimpleNamespace:
    """Fit both losses to three clouds of points, ``examples`` each, at one penalty strength."""
    generator = np.random.default_rng(1)
    points = np.concatenate([generator.normal(c, 0.85, (examples, 2)) for c in CENTRES]).astype(np.float32)
    labels = np.repeat(np.arange(3), examples).astype(np.int32)
    lead = np.linspace(-3, 4, 141)
    pairs, first = np.stack([lead, 0 * lead], axis=1), np.zeros(len(lead), np.int32)
    found = SimpleNamespace(points=points, labels=labels, lead=lead, curves={}, slopes={}, models={}, pulls={}, hits={})
    for name, loss in LOSSES.items():
        found.curves[name], found.slopes[name] = np.asarray(loss(pairs, first)), pull(loss, pairs, first)
        path = tw.path((points, labels), loss=loss, strengths=[1e-3], folds=0, preprocessing=None)
        scores = path.model.scores(points)
        found.models[name], found.pulls[name] = path.model, pull(loss, scores, labels)
        found.hits[name] = scores.argmax(axis=1) == labels
    three = jnp.array([[3.2, 5.1, -1.7], [13.2, 5.1, -1.7]])  # class 0 is right: behind, then far ahead
    found.three = {name: np.asarray(loss(three, jnp.array([0, 0]))) for name, loss in LOSSES.items()}
    return found


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the four panels."""
    theme = themed(dark)
    figure = Figure(figsize=(12.6, 4.7), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 1.25, 1.25))
    upper, lower = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    for place, name in enumerate(LOSSES):
        style = {"color": theme.colour(place), "linestyle": LINES[place][0], "linewidth": 2}
        upper.plot(found.lead, found.curves[name], label=name, **style)
        lower.plot(found.lead, found.slopes[name], label=name, **style)
    upper.set(ylabel="loss", title="One example, two classes", xticklabels=[])
    lower.set(xlabel="margin: the true class's score minus the other", ylabel="pull |∂L/∂s|")
    upper.legend(frameon=False)
    for axes in (upper, lower):
        axes.axvline(1, color=theme.faint, linewidth=1)
        axes.spines[["top", "right"]].set_visible(False)
    for place, name in enumerate(LOSSES):
        plane(figure.add_subplot(grid[:, 1 + place]), found, name, theme)
    return theme.dress(figure)


def plane(axes, found: SimpleNamespace, name: str, theme: Theme) -> None:
    """Draw a classifier's regions, and each example as large as its pull."""
    record = tw.views.region_record(found.models[name], bounds=((-4, 4), (-3.6, 4)), points=241)
    paper = np.array(to_rgb(theme.paper))
    pale = [tuple(0.85 * paper + 0.15 * np.array(to_rgb(theme.colour(k)))) for k in range(3)]
    axes.pcolormesh(record.xs, record.ys, record.regions, cmap=ListedColormap(pale), rasterized=True)
    strength = found.pulls[name]
    for k in range(3):
        own = found.labels == k
        look = {"color": theme.colour(k), "marker": LINES[k][1], "edgecolors": theme.paper, "linewidths": 0.4}
        axes.scatter(*found.points[own].T, s=6 + 120 * strength[own], **look)
    silent = int((strength == 0).sum())
    words = f"{silent} of {len(strength)} examples do not pull at all" if silent else "every example pulls a little"
    axes.set(title=f"{name}: {words}", xlabel="feature 1", ylabel="feature 2", aspect="equal")


def main(out: Path = Path("lesson_losses.png"), examples: int = 80) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(examples)
    draw(found).savefig(out, dpi=90)
    (soft, far), (hinge, content) = found.three["softmax"], found.three["hinge"]
    print(f"Scores 3.2, 5.1, −1.7, the first class is right: softmax {soft:.2f}, hinge {hinge:.2f}. "
          f"With 10 more for the right class: softmax {far:.5f}, still above 0; hinge {content:g}.")  # fmt: skip
    silent = (found.pulls["hinge"] == 0).mean()
    strong = np.sort(found.pulls["softmax"])[::-1].cumsum()
    half = int(np.searchsorted(strong, strong[-1] / 2)) + 1
    print(f"At the optimum {silent:.0%} of the examples pull with exactly nothing by the hinge, none by the softmax, "
          f"where {half} of {len(strong)} do half of all the pulling.")  # fmt: skip
    print(f"They disagree about {(found.hits['softmax'] != found.hits['hinge']).sum()} examples: "
          f"{found.hits['softmax'].mean():.1%} and {found.hits['hinge'].mean():.1%} are right.")  # fmt: skip
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_losses.png"), help="where to write the picture")
    main(parser.parse_args().out)
