"""Draw the pictures of docs/lessons, all or those named: python docs/make_lesson_pictures.py [losses penalties ...]."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from PIL import Image

from thalweg.plot.race_animation import palette_of
from thalweg.plot.theme import themed

HERE = Path(__file__).parent
# In the order of the subject.
LESSONS = (
    "losses", "regularise", "penalties", "gradients", "optimizers", "schedules", "valleys", "second_order", "features",
    "networks",
)  # fmt: skip
PHOTOGRAPHS = ("features",)  # more colours than a palette holds


def draw(name: str) -> None:
    """Run a lesson and store its picture with about 110 colours, a third of the bytes."""
    print(f"== {name}", flush=True)
    out = HERE / "lessons" / f"{name}.png"
    importlib.import_module(f"lesson_{name}").main(out)
    with Image.open(out) as written:
        whole = written.convert("RGB")
    if name not in PHOTOGRAPHS:
        palette = palette_of(whole, [*themed().palette, themed().alarm, themed().ink])
        whole = whole.quantize(palette=palette, dither=Image.Dither.NONE)
        colours = whole.getpalette()
        paper = 3 * whole.getpixel((0, 0))
        colours[paper : paper + 3] = [255, 255, 255]  # not the mean of all that is nearly white
        whole.putpalette(colours)
    whole.save(out, optimize=True)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "examples"))
    for chosen in sys.argv[1:] or LESSONS:
        draw(chosen)
