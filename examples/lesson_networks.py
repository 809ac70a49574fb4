"""Networks: what a linear classifier cannot separate, and what a second layer, dropout and batch normalisation do.

    python examples/lesson_networks.py --out networks.png

Left, three data sets in the plane: above, the regions of a linear classifier, which stays near chance; below, those of
a network with one hidden layer, which bends the border. Marks with a black edge are predicted wrongly. Right, networks
of 300 hidden units on digits a fifth of whose labels were drawn at random: thin, the loss on the examples they learn
from, thick, on others with right labels. Plain, and with batch normalisation, they learn the wrong labels by heart;
dropout keeps them from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

import thalweg as tw
from thalweg.plot.theme import LINES, Theme, themed

SETS = ("rings", "xor", "modes")
MODELS = {"linear": tw.models.Linear(), "one hidden layer": tw.models.Dense(hidden=16)}
# A rate of dropout is a number, so two of them share a compiled program; whether there is a batch norm is structure.
LARGE = {
    "plain": tw.models.Dense(hidden=300, dropout=0.0),
    "dropout 0.5": tw.models.Dense(hidden=300, dropout=0.5),
    "dropout 0.7": tw.models.Dense(hidden=300, dropout=0.7),
    "batch norm": tw.models.Dense(hidden=300, dropout=0.0, batch_norm=True),
}


def learn(epochs: int = 40, examples: int = 600, large_epochs: int = 40) -> SimpleNamespace:
    """Train both models on the three sets, and the large networks on so many digits, all by Adam."""
    rate = tw.optimizers.Adam(tw.schedules.Cosine(0.03))
    fits = {
        (model, name): tw.fit(tw.Recipe(model=part, optimizer=rate, batch_size=100, epochs=epochs), name)
        for model, part in MODELS.items()
        for name in SETS
    }
    digits, generator = tw.load("digits").train, np.random.default_rng(0)
    labels = digits.labels[:examples].copy()
    drawn = generator.random(examples) < 0.2
    labels[drawn] = generator.integers(0, 10, drawn.sum())
    others = tw.Split(digits.features[900:], digits.labels[900:])
    data = tw.Dataset(
        "noisy digits", "digits, some labels drawn", tw.Split(digits.features[:examples], labels), tuple("0123456789"),
        validation=others,
    )  # fmt: skip
    recipe = tw.Recipe(
        model=tw.choice(*LARGE.values()), optimizer=tw.optimizers.Adam(3e-3), batch_size=50, epochs=large_epochs
    )
    run = tw.sweep(recipe, data, search="grid", refit=False, test=0)
    return SimpleNamespace(fits=fits, histories={name: t.history for name, t in zip(LARGE, run.trials, strict=True)})


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return six planes and one panel of curves."""
    theme = themed(dark)
    figure = Figure(figsize=(13, 6), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1, 1.5))
    for row, model in enumerate(MODELS):
        for column, name in enumerate(SETS):
            run = found.fits[model, name]
            axes = figure.add_subplot(grid[row, column])
            regions(axes, tw.views.region_record(run.model, name, points=181), theme)
            axes.set_title(f"{name}: {run.test.accuracy:.0%} right", fontsize=10)
            if column == 0:
                axes.set_ylabel(model)
    curves = figure.add_subplot(grid[:, 3])
    for place, (name, history) in enumerate(found.histories.items()):
        epochs = np.arange(1, len(history["validation_loss"]) + 1)
        style, colour = LINES[place][0], theme.colour(place)
        curves.plot(epochs, history["data_loss"], color=colour, linestyle=style, linewidth=1)
        curves.plot(epochs, history["validation_loss"], color=colour, linestyle=style, linewidth=2.2, label=name)
    curves.set(xlabel="epoch", ylabel="loss: thin, in training; thick, on other digits", ylim=(0, 1.2),
               title="300 hidden units, some labels wrong")  # fmt: skip
    curves.legend(frameon=False, loc="upper right", ncols=2)
    curves.grid(alpha=0.25)
    curves.spines[["top", "right"]].set_visible(False)
    return theme.dress(figure)


def regions(axes, record, theme: Theme) -> None:
    """Draw which class is predicted where, and 400 of the examples."""
    paper = np.array(to_rgb(theme.paper))
    pale = [tuple(0.75 * paper + 0.25 * np.array(to_rgb(theme.colour(k)))) for k in range(2)]
    axes.pcolormesh(record.xs, record.ys, record.regions, cmap=ListedColormap(pale), vmin=0, vmax=1, rasterized=True)
    shown = np.random.default_rng(0).permutation(len(record.labels))[:400]
    for k in range(2):
        for wrong in (False, True):
            own = shown[(record.labels[shown] == k) & ((record.predicted != record.labels)[shown] == wrong)]
            edge, width = (theme.ink, 0.9) if wrong else (theme.paper, 0.3)
            axes.scatter(*record.examples[own].T, s=13, color=theme.colour(k), marker=LINES[k][1], edgecolors=edge,
                         linewidths=width)  # fmt: skip
    axes.set(xticks=[], yticks=[], aspect="equal", box_aspect=1)


def main(out: Path = Path("lesson_networks.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=80)
    for name in SETS:
        linear, network = (found.fits[model, name].test.accuracy for model in MODELS)
        print(f"{name:6} linear {linear:.1%} of the test examples right, with a hidden layer {network:.1%}")
    for name, history in found.histories.items():
        print(
            f"{name:10} loss in training {history['data_loss'][-1]:.4f}, on other digits "
            f"{history['validation_loss'][-1]:.3f}, {history['validation_accuracy'][-1]:.1%} of these right"
        )
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_networks.png"), help="where to write the picture")
    main(parser.parse_args().out)
