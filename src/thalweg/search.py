"""Search: from a recipe with ranges in it to a list of trials.

The places that a space leaves open are its *dimensions*, found by walking the
recipe; each has a coordinate u in [0, 1). A sampled search draws coordinates
(Sobol or random), a grid lists them, and `resolve` turns one set of coordinates
into a concrete recipe by building every part anew through its constructor.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np

from thalweg.errors import UsageError, nearest
from thalweg.fields import check_integer
from thalweg.ranges import Choice, Integers, Range
from thalweg.recipe import Recipe

__all__ = [
    "METHODS",
    "Coordinates",
    "Dimension",
    "active",
    "describe",
    "dimensions",
    "draw",
    "grid",
    "resolve",
    "sample",
]

METHODS = ("sobol", "random", "grid")
"""How the recipes of a search may be drawn."""
_TRIES = 64  # rows drawn for each trial wanted, before a nearly exhausted space gives fewer
_LARGEST_GRID = 1_000_000
Path = tuple[str, ...]
Coordinates = dict[Path, float]
"""Where a trial lies in its space: the path of each open place, and a number in [0, 1)."""


@dataclass(frozen=True)
class Dimension:
    """One open place of a space: where it is, and the range or choice that stands there."""

    path: Path
    range: Range | Choice

    @property
    def name(self) -> str:
        """The place in words, such as ``optimizer.learning_rate.peak``."""
        return ".".join(step for step in self.path if not step.startswith("["))


def children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts inside a recipe's part, in the order of its fields."""
    if isinstance(node, eqx.Module):
        for field in dataclasses.fields(node):
            if field.init:
                yield field.name, getattr(node, field.name)
    elif isinstance(node, Mapping):
        yield from node.items()
    elif type(node) in (tuple, list):
        yield from ((str(i), item) for i, item in enumerate(node))


def dimensions(space: Any, path: Path = ()) -> list[Dimension]:
    """List the open places of a space; options of a choice that hold ranges add theirs."""
    if isinstance(space, Range):
        return [Dimension(path, space)]
    if isinstance(space, Choice):
        inner = [dimensions(option, (*path, f"[{i}]")) for i, option in enumerate(space.options)]
        return [Dimension(path, space), *itertools.chain.from_iterable(inner)]
    return [found for name, child in children(space) for found in dimensions(child, (*path, name))]


def active(space: Any, coordinates: Mapping[Path, float]) -> list[Dimension]:
    """List the dimensions that bear on the trial at the given coordinates.

    A dimension inside an option of a choice bears on it only if that option was taken.
    """
    found = dimensions(space)
    taken = {
        d.path: f"[{option_index(d.range, coordinates[d.path])}]"
        for d in found
        if isinstance(d.range, Choice) and d.path in coordinates  # a grid leaves out what does not bear
    }

    def bears(path: Path) -> bool:
        return all(taken.get(path[:i]) == step for i, step in enumerate(path) if step.startswith("["))

    return [dimension for dimension in found if bears(dimension.path)]


def option_index(choice: Choice, u: float) -> int:
    """Return which option of a choice the coordinate u falls on."""
    return min(int(u * len(choice.options)), len(choice.options) - 1)


def resolve(space: Any, coordinates: Mapping[Path, float], path: Path = ()) -> Any:
    """Fill every open place from its coordinate and build the part anew.

    Building goes through the constructors: they check the numbers, and form
    what must be formed in double precision. A part with nothing open in it stays
    the very same object.
    """
    if isinstance(space, Range):
        return space.at(coordinates[path])
    if isinstance(space, Choice):
        index = option_index(space, coordinates[path])
        return resolve(space.options[index], coordinates, (*path, f"[{index}]"))
    parts = {name: resolve(child, coordinates, (*path, name)) for name, child in children(space)}
    if all(parts[name] is child for name, child in children(space)):
        return space
    if isinstance(space, eqx.Module):
        return type(space)(**parts)
    return parts if isinstance(space, Mapping) else type(space)(parts.values())


def draw(
    space: Any, count: int, *, seed: int = 0, method: str = "sobol", points: int | None = None
) -> list[Coordinates]:
    """Draw the coordinates of trials from a space.

    ``sobol`` takes a scrambled Sobol sequence (Owen 1998), which fills the
    space more evenly than ``random`` does at the same count; no trial is drawn
    twice. A space of choices
    alone that has no more than ``count`` members is listed whole instead, and
    ``grid`` lists every combination whatever ``count`` is: each range gives
    ``points`` values, evenly spaced in its own scale, both ends included
    (`integers`: all of them, if no number of points is given).
    """
    if method not in METHODS:
        raise UsageError(f"search is {method!r}; it must be one of {', '.join(METHODS)}{nearest(str(method), METHODS)}")
    check_integer("search", "trials", count, least=1)
    check_integer("search", "seed", seed, least=0)
    if method == "grid" or _size(space) <= count:
        return _combinations(space, points)
    drawn: dict[Any, Coordinates] = {}
    for row in itertools.islice(_rows(space, count, seed, method), _TRIES * count):
        drawn.setdefault(_identity(space, row), row)
        if len(drawn) == count:
            break
    return list(drawn.values())


def _rows(space: Any, count: int, seed: int, method: str) -> Iterator[Coordinates]:
    """Yield coordinates without end; a Sobol sequence goes on by doubling, which keeps it balanced."""
    paths = [dimension.path for dimension in dimensions(space)]
    generator = np.random.default_rng(seed)
    if method == "random":
        while True:
            yield dict(zip(paths, generator.random(len(paths)).tolist(), strict=True))
    from scipy.stats import qmc  # half a second to import, and only this search needs it

    sequence = qmc.Sobol(len(paths), rng=generator)
    power = math.ceil(math.log2(count))
    while True:
        for row in sequence.random_base2(power).tolist():
            yield dict(zip(paths, row, strict=True))
        power = int(math.log2(sequence.num_generated))


def _identity(space: Any, coordinates: Coordinates) -> tuple[Any, ...]:
    """What tells one trial from another: the values at the places that bear on it."""
    found = []
    for dimension in active(space, coordinates):
        u, place = coordinates[dimension.path], dimension.range
        found.append((dimension.path, option_index(place, u) if isinstance(place, Choice) else place.at(u)))
    return tuple(found)


def sample(space: Recipe, count: int, *, seed: int = 0, method: str = "sobol") -> list[Recipe]:
    """Return ``count`` recipes drawn from a space, or all where choices alone give no more; see `draw`."""
    return [resolve(space, coordinates) for coordinates in draw(space, count, seed=seed, method=method)]


def grid(space: Recipe, points: int | None = None) -> list[Recipe]:
    """Return the recipe of every combination in a space; see `draw`."""
    return [resolve(space, coordinates) for coordinates in _combinations(space, points)]


def describe(space: Any) -> list[str]:
    """Return a line for each open place of a space: its name and what it ranges over."""
    return [f"{dimension.name}: {_in_words(dimension.range)}" for dimension in dimensions(space)]


def _in_words(place: Range | Choice) -> str:
    if isinstance(place, Range):
        return f"{place.kind} from {place.low:g} to {place.high:g}"
    return "one of " + ", ".join(_option_in_words(option) for option in place.options)


def _option_in_words(option: Any) -> str:
    if isinstance(option, (Range, Choice)):
        return _in_words(option)
    return type(option).__name__ if isinstance(option, eqx.Module) else str(option)


def _combinations(space: Any, points: int | None) -> list[Coordinates]:
    if points is not None:
        check_integer("grid", "points", points, least=2)
    if _LARGEST_GRID < _size(space, points) < math.inf:
        raise UsageError(f"the grid has more than {_LARGEST_GRID:,} trials; give fewer points, or draw trials by sobol")
    return _grid(space, (), points)


def _grid(node: Any, path: Path, points: int | None) -> list[Coordinates]:
    if isinstance(node, Range):
        return [{path: u} for u in _steps(node, path, points)]
    if isinstance(node, Choice):
        count = len(node.options)
        return [
            {path: (i + 0.5) / count, **inner}
            for i, option in enumerate(node.options)
            for inner in _grid(option, (*path, f"[{i}]"), points)
        ]
    lists = [_grid(child, (*path, name), points) for name, child in children(node)]
    return [dict(itertools.chain.from_iterable(c.items() for c in row)) for row in itertools.product(*lists)]


def _steps(node: Range, path: Path, points: int | None) -> list[float]:
    name = Dimension(path, node).name
    if isinstance(node, Integers):
        count = int(node.high - node.low) + 1
        values = np.linspace(node.low, node.high, count if points is None else min(points, count)).round()
        return [(value - node.low + 0.5) / count for value in np.unique(values).tolist()]
    if points is None:
        raise UsageError(
            f"a grid over {name} = {node.kind}({node.low:g}, {node.high:g}) needs a number of points: "
            "give points=5, or list the values with choice(...)"
        )
    return [i / (points - 1) for i in range(points)]


def _size(node: Any, points: int | None = None) -> float:
    """How many trials a space holds, with at most ``points`` a range: infinite where a range is continuous."""
    most = math.inf if points is None else points
    if isinstance(node, Integers):
        return min(node.high - node.low + 1, most)
    if isinstance(node, Range):
        return most
    if isinstance(node, Choice):
        return sum(_size(option, points) for option in node.options)
    return math.prod(_size(child, points) for _, child in children(node))
