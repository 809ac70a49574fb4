"""Features: what a linear classifier is shown in place of pixels, and what that is worth.

    python examples/lesson_features.py --out features.png
    python examples/lesson_features.py --data cifar10-images.tar.xz      # a third row: your images, or CIFAR-10

A row a data set: four of its images; what HOG sees in the first, a stroke for each edge direction of each cell; its
colours; patches learned from the training images; and the accuracy of a linear classifier on each, with 95 % intervals.
The digits are grey, and each lies where the last one lay: edges in their places tell them best. In tiles cut from two
photographs nothing has a place: pixels and HOG, which say what is where, tell little; colours, and patches counted
anywhere in a quarter of the image, tell much.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_images

import thalweg as tw
from thalweg.plot.theme import Theme, themed

KINDS = ("pixels", "HOG", "colour", "patches")


def digits() -> tw.Dataset:
    """The built-in digits with brightness from 0 to 1, 1,000 to learn from."""
    all_of_them = tw.load("digits").train
    parts = (
        tw.Split(all_of_them.features[some] / 16, all_of_them.labels[some]) for some in (slice(1000), slice(1000, None))
    )
    train, test = parts
    return tw.Dataset("digits", "scikit-learn's digits", train, tuple("0123456789"), test=test)


def tiles(side: int = 32, seed: int = 0) -> tw.Dataset:
    """Cut tiles from scikit-learn's two photographs: those on the left to learn from, those on the right to test."""
    generator = np.random.default_rng(seed)
    splits = []
    for low, high, count in ((0, 288, 60), (320, 608, 200)):  # columns; no test tile overlaps one for training
        images, labels = [], []
        for label, photograph in enumerate(load_sample_images().images):  # (427, 640, 3) uint8: a temple, a flower
            for top, left in zip(
                generator.integers(0, 427 - side, count), generator.integers(low, high, count), strict=True
            ):
                images.append(photograph[top : top + side, left : left + side])
                labels.append(label)
        splits.append(tw.Split(np.stack(images), np.array(labels, np.int32)))
    return tw.Dataset("tiles", "two photographs", splits[0], ("temple", "flower"), test=splits[1])


def parts(shape: tuple[int, ...], centroids: int) -> dict[str, object]:
    """The features that suit images of this shape (height, width, channels)."""
    small = shape[0] < 16
    found = {"pixels": None, "HOG": tw.features.HOG(cell=2 if small else 8)}
    if shape[2] == 3:
        found["colour"] = tw.features.ColorHistogram()
    found["patches"] = tw.features.Patches(count=centroids, patch=3 if small else 6, samples=20_000, iterations=10)
    return found


def study(data: tw.Dataset, most: int = 2000, centroids: int = 64, strengths: int = 8, kinds=KINDS) -> SimpleNamespace:
    """Fit a linear classifier to each kind of features, its penalty's strength cross-validated, and score it."""
    if len(data.train.features) > most:
        some = np.sort(np.random.default_rng(0).permutation(len(data.train.features))[:most])  # files go class by class
        keep = tw.Split(data.train.features[some], data.train.labels[some])
        data = tw.Dataset(data.name, data.source, keep, data.classes, test=data.test)
    train, found = data.train, parts(data.feature_shape, centroids)
    fit = {"penalty": "elastic_net", "beta": 5.0, "strengths": strengths, "folds": 3}
    paths = {name: tw.path(data, features=part, **fit) for name, part in found.items() if name in kinds}
    shown = train.features[[np.flatnonzero(train.labels == label)[0] for label in (0, 1, 0, 1)]]
    shown[2:] = train.features[[np.flatnonzero(train.labels == label)[1] for label in (0, 1)]]
    hog = tw.features.HOG(cell=found["HOG"].cell, block=1)
    strokes = hog.transform(shown[:1], {}).reshape(-1, hog.orientations)  # (cells, orientations)
    hues = None
    if "colour" in found:
        hues = tw.features.ColorHistogram(bins=(12, 1, 1), grid=1).transform(shown[:1], {})[0, :12] ** 2
    state, size = found["patches"].fit(train.features), found["patches"].patch
    # A centroid lives among whitened patches; unwhitened it can be looked at.
    patches = state["centroids"] @ np.linalg.inv(state["whitening"]) + state["mean"]
    return SimpleNamespace(
        name=data.name, images=shown, strokes=strokes, hues=hues,
        scores={name: path.test for name, path in paths.items()}, patches=patches.reshape(len(patches), size, size, -1),
    )  # fmt: skip


def draw(found: list[SimpleNamespace], dark: bool = False) -> Figure:
    """Return the picture: a row a data set."""
    theme = themed(dark)
    figure = Figure(figsize=(13, 3.1 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 5, squeeze=False, width_ratios=(1, 1, 1, 1, 1.5))
    for row, one in zip(panels, found, strict=True):
        for axes in row[:4]:
            axes.set(xticks=[], yticks=[])
        images = one.images[:4].squeeze(-1) if one.images.shape[3] == 1 else one.images[:4]
        row[0].imshow(sheet(images / images.max(), 2, 1.0), cmap="gray", vmin=0, vmax=1)
        row[0].set(title="four images", ylabel=one.name)
        glyphs(row[1], one, theme)
        colours(row[2], one, theme)
        lowest, highest = one.patches.min(axis=(1, 2, 3), keepdims=True), one.patches.max(axis=(1, 2, 3), keepdims=True)
        shown = ((one.patches - lowest) / (highest - lowest)).squeeze()[:36]
        row[3].imshow(sheet(shown, 6, 1.0), cmap="gray", vmin=0, vmax=1)
        row[3].set_title("patches, learned")
        scores(row[4], one, theme)
    return theme.dress(figure)


def sheet(images: np.ndarray, columns: int, gap: float) -> np.ndarray:
    """Lay images (N, H, W) or (N, H, W, 3) out in full rows, with a line of one pixel between them."""
    pad = ((0, 0), (0, 1), (0, 1)) + ((0, 0),) * (images.ndim - 3)
    framed = np.pad(images[: len(images) // columns * columns], pad, constant_values=gap)
    rows = [np.concatenate(framed[i : i + columns], axis=1) for i in range(0, len(framed), columns)]
    return np.concatenate(rows, axis=0)[:-1, :-1]


def glyphs(axes, one: SimpleNamespace, theme: Theme) -> None:
    """Draw HOG's cells over the first image: a stroke across each gradient, as long as that is strong."""
    side, cells, kinds = one.images.shape[1], int(np.sqrt(len(one.strokes))), one.strokes.shape[1]
    axes.imshow(one.images[0].squeeze() / one.images.max(), cmap="gray", vmin=0, vmax=1, alpha=0.35)
    angles = (np.arange(kinds) + 0.5) * 2 * np.pi / kinds + np.pi / 2
    for cell, strengths in enumerate(one.strokes):
        y, x = (np.array(divmod(cell, cells)) + 0.5) * side / cells - 0.5
        for angle, strength in zip(angles, 0.5 * side / cells * strengths / one.strokes.max(), strict=True):
            dx, dy = strength * np.cos(angle), strength * np.sin(angle)
            axes.plot([x - dx, x + dx], [y - dy, y + dy], color=theme.colour(1), linewidth=1.4, alpha=0.8)
    axes.set_title("HOG of the first")


def colours(axes, one: SimpleNamespace, theme: Theme) -> None:
    """Draw the first image's histogram of hues, or say that it has none."""
    if one.hues is None:
        axes.text(
            0.5, 0.5, "grey images:\nno colours", ha="center", va="center", color=theme.ink, transform=axes.transAxes
        )
    else:
        count = len(one.hues)
        axes.bar(range(count), one.hues, color=hsv_to_rgb([(k / count, 0.75, 0.85) for k in range(count)]))
        axes.set_xlabel("hue")
    axes.set_title("colours of the first")
    axes.set_box_aspect(1)


def scores(axes, one: SimpleNamespace, theme: Theme) -> None:
    """Draw the test accuracies with their intervals."""
    for place, (name, test) in enumerate(one.scores.items()):
        low, high = test.interval
        axes.plot([100 * low, 100 * high], [place, place], color=theme.colour(0), linewidth=3, solid_capstyle="butt")
        axes.plot(100 * test.accuracy, place, "o", color=theme.paper, markeredgecolor=theme.colour(0), markersize=7)
        axes.annotate(f"{name}  {test.accuracy:.1%}", (100 * test.accuracy, place), xytext=(0, 7), ha="center",
                      textcoords="offset points", color=theme.ink, fontsize=9)  # fmt: skip
    axes.set(ylim=(len(one.scores) - 0.6, -0.9), yticks=[], xlabel="test accuracy, %, with 95 % interval")
    axes.margins(x=0.2)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)


def main(out: Path = Path("lesson_features.png"), data: str | None = None, **sizes) -> list[SimpleNamespace]:
    """Learn, draw, and say what is to be seen."""
    sets = [digits(), tiles(), *([tw.load(data)] if data else [])]
    found = [study(one, **sizes) for one in sets]
    draw(found).savefig(out, dpi=80)
    for one in found:
        words = ", ".join(f"{name} {test.accuracy:.1%}" for name, test in one.scores.items())
        print(f"{one.name}: test accuracy of {words}")
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_features.png"), help="where to write the picture")
    parser.add_argument("--data", help="further images: a folder of class folders, an archive, CIFAR-10")
    arguments = parser.parse_args()
    main(arguments.out, arguments.data)
