"""A race as a moving picture: all racers on one landscape, their trails growing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from thalweg.atomic import write_bytes
from thalweg.errors import UsageError
from thalweg.landscapes.records import Race
from thalweg.plot.names import fitting, literal
from thalweg.plot.race_panel import Track, backdrop, checked_start, draw_backdrop, look, plain, track
from thalweg.plot.theme import Theme, themed

__all__ = ["race_animation"]

_LIMIT = 1_000_000  # bytes: what pages and mails take without complaint
_DOTS = (100, 80, 60, 45)  # per inch, tried in this order until the file is below the limit
_PAUSE, _LAST = 60, 2500  # milliseconds of a frame and of the last, long enough to read it
_COLOURS = 96  # of the GIF's one palette; more cost bytes and show no difference


def race_animation(record: Race, path: str | Path, *, start: int = 0, frames: int = 100, dark: bool = False) -> Path:
    """Write a race as an animated GIF or WebP: all racers on one landscape, each with its trail.

    Time runs evenly: every frame advances by the same number of steps, up to where the last racer ended. The file
    stays below 1 MB: where it would not, it is drawn smaller. The same race gives the same bytes.

    Args:
        record: a race; one of its starts is drawn.
        path: where to; its suffix, ``.gif`` or ``.webp``, is the format.
        start: which start, 0 for the first.
        frames: how many pictures, from 2 to 1,000; never more than there are steps.
        dark: dark paper.

    Returns:
        The path.

    Raises:
        UsageError: another suffix, no such start, a number of frames outside its range, a place that cannot be
            written, or a file that is above 1 MB even at the smallest size.
    """
    path = Path(path)
    if path.suffix.lower() not in (".gif", ".webp"):
        raise UsageError(f"path is {str(path)!r}; its suffix must be .gif or .webp")
    if type(frames) is not int or not 2 <= frames <= 1000:
        raise UsageError(f"frames is {frames!r}; give a whole number from 2 to 1000")
    start = checked_start(record, start)
    theme = themed(dark)
    colours = [theme.paper, theme.alarm, *sorted({theme.colour(place) for place in range(len(record.names))})]
    for dots in _DOTS:
        content = _encoded(_pictures(record, start, frames, dark, dots), path.suffix.lower(), colours)
        if len(content) < _LIMIT:
            write_bytes(path, content)
            return path
    raise UsageError(f"frames is {frames}: the file would be above 1 MB at the smallest size; give fewer")


def _pictures(record: Race, start: int, frames: int, dark: bool, dots: int) -> list[Image.Image]:
    """Return the frames. The landscape is drawn once; on its copy come the trails."""
    theme = themed(dark)
    figure, axes, ways = _stage(record, start, theme, dark, dots)
    canvas: Any = FigureCanvasAgg(figure)
    lines = [axes.plot([], [], color=theme.colour(p), linestyle=look(p)[0], linewidth=2)[0] for p in range(len(ways))]
    heads = [
        axes.plot([], [], look(p)[1], color=theme.colour(p), markeredgecolor=theme.paper, markersize=9)[0]
        for p in range(len(ways))
    ]
    counter = axes.text(
        0.02, 0.98, "", transform=axes.transAxes, va="top", color=theme.ink,
        bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85, "boxstyle": "round,pad=0.3"},
    )  # fmt: skip
    moving = [*lines, *heads, counter]
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    empty = canvas.copy_from_bbox(figure.bbox)
    last = max(way.steps for way in ways)
    pictures = []
    for step in np.unique(np.linspace(0, last, frames).round().astype(int)):
        canvas.restore_region(empty)
        for way, line, head in zip(ways, lines, heads, strict=True):
            _advance(way, int(step), line, head, theme)
        counter.set_text(f"step {step:,} of {last:,}")
        for artist in moving:
            axes.draw_artist(artist)
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    return pictures


def _stage(record: Race, start: int, theme: Theme, dark: bool, dots: int) -> tuple[Figure, Any, list[Track]]:
    field = backdrop(record, start)
    frame = ((field.xs[0], field.xs[-1]), (field.ys[0], field.ys[-1]))
    ways = [track(record, racer, start, frame) for racer in range(len(record.names))]
    figure = Figure(figsize=(6.4, 4.4), dpi=dots, layout="constrained")
    axes: Any = figure.add_subplot()
    draw_backdrop(axes, field, theme, dark=dark)
    axes.plot(*ways[0].points[0], "o", color=theme.paper, markeredgecolor=theme.ink, markersize=7, zorder=3)
    axes.set(xlabel="x", ylabel="y")
    axes.set_title(plain(field.name), pad=10)
    handles = [
        Line2D(
            [], [], color=theme.colour(place), linestyle=look(place)[0], marker=look(place)[1], linewidth=2,
            label=fitting(way.name, 1.3, 9),
        )
        for place, way in enumerate(ways)
    ]  # fmt: skip
    handles.append(Line2D([], [], linestyle="", marker="X", markersize=9, color=theme.alarm, label="diverged"))
    if all(way.fate != "diverged" for way in ways):
        handles.pop()
    legend = figure.legend(handles=handles, loc="outside right upper", fontsize=9, frameon=False, handlelength=3)
    for text in legend.get_texts():
        literal(text)
    theme.dress(figure)
    return figure, axes, ways


def _advance(way: Track, step: int, line: Line2D, head: Line2D, theme: Theme) -> None:
    trail = way.points[: step + 1]
    line.set_data(*trail.T)
    head.set_data([trail[-1][0]], [trail[-1][1]])
    if way.fate == "diverged" and len(trail) == len(way.points):
        head.set(marker="X", color=theme.alarm, markersize=11, clip_on=False)


def _encoded(pictures: list[Image.Image], suffix: str, colours: list[str]) -> bytes:
    pauses = [_PAUSE] * (len(pictures) - 1) + [_LAST]
    out = io.BytesIO()
    options: dict[str, Any] = {"save_all": True, "duration": pauses, "loop": 0}
    if suffix == ".webp":
        pictures[0].save(out, "WEBP", append_images=pictures[1:], quality=80, method=2, **options)
        return out.getvalue()
    palette = palette_of(pictures[-1], colours)
    reduced = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    reduced[0].save(out, "GIF", append_images=reduced[1:], optimize=False, **options)
    return out.getvalue()


def palette_of(picture: Image.Image, colours: list[str]) -> Image.Image:
    """Return one palette for all frames, so that these differ only where something moved.

    It is the last frame's, where every racer is seen, with the racers' own colours, and these half mixed with the
    ground for their smooth edges: thin lines alone would be merged into what lies about them.
    """
    ground = np.array(picture.getpixel((picture.width // 3, picture.height // 2)), np.float64)
    own = 255 * np.array([to_rgb(colour) for colour in colours])
    wanted = np.concatenate([own, (own + ground) / 2]).round().astype(int)
    found = picture.quantize(_COLOURS, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found[: 3 * _COLOURS], *wanted.ravel().tolist()])
    return palette
