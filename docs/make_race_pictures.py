"""Draw the pictures of race_pictures.md: python docs/make_race_pictures.py"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from thalweg import landscapes
from thalweg.landscapes.basins import basins as basin_map
from thalweg.landscapes.stability import stability as stability_map
from thalweg.optimizers import SGD, Adam, RMSProp
from thalweg.plot.basin_figure import basins
from thalweg.plot.race_animation import palette_of, race_animation
from thalweg.plot.race_curves import race_curves
from thalweg.plot.race_figure import race, race_story
from thalweg.plot.stability_figure import stability
from thalweg.plot.theme import themed

HERE = Path(__file__).parent
NAMES = ["SGD", "Momentum", "Nesterov", "RMSProp", "Adam"]


def five(sgd: float, momentum: float, nesterov: float, rmsprop: float, adam: float) -> list:
    """The five racers at these rates."""
    return [
        SGD(sgd),
        SGD(momentum, momentum=0.9),
        SGD(nesterov, momentum=0.9, nesterov=True),
        RMSProp(rmsprop),
        Adam(adam),
    ]


def save(figure: Figure, name: str, dpi: int = 75) -> None:
    """Write a figure with about 110 colours, the racers' own among them: a third of the bytes."""
    out = BytesIO()
    figure.savefig(out, dpi=dpi)
    whole = Image.open(out).convert("RGB")
    palette = palette_of(whole, [*themed().palette, themed().alarm, themed().paper, themed().ink])
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(HERE / name, optimize=True)


if __name__ == "__main__":
    saddle = landscapes.race(landscapes.Saddle(), five(0.05, 0.01, 0.01, 0.03, 0.05), steps=100, names=NAMES)
    valley = landscapes.Quadratic(40, 0.5)
    narrow = landscapes.race(valley, five(0.045, 0.01, 0.01, 0.05, 0.1), steps=100, names=NAMES)
    save(race_story([saddle, narrow], titles=["at a saddle", "in a narrow valley"]), "race_story.png")
    banana = landscapes.race(
        landscapes.Rosenbrock(), [*five(1e-3, 1e-3, 1e-3, 0.02, 0.1), SGD(0.01)], steps=300, names=[*NAMES, "SGD, 0.01"]
    )
    save(race(banana), "race_trajectories.png")
    save(race_curves(banana, dark=True), "race_curves.png")
    race_animation(banana, HERE / "race.webp", frames=60)
    racers = [SGD(0.01), SGD(0.004, momentum=0.9), Adam(0.1)]
    maps = [basin_map(landscapes.Himmelblau(), racer, points=200, steps=300) for racer in racers]
    save(basins(maps), "race_basins.png")
    save(stability(stability_map(10)), "race_stability.png")
