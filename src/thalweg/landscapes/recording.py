"""From the arrays of a race to its record: the last step of the lost, distances, and messages in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from thalweg.landscapes.base import Landscape
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.starts import frame_of
from thalweg.landscapes.wrapped import Function, Noisy

__all__ = ["CONVERGED", "DIVERGED", "RUNNING", "STALLED", "Track", "bends", "chosen", "record"]

RUNNING, CONVERGED, DIVERGED, STALLED = map(STATUSES.index, ("running", "converged", "diverged", "stalled"))


class Track(NamedTuple):
    """What the compiled program of one kind of racer returns; leaves are (racers, starts, ...)."""

    positions: Any
    values: Any
    norms: Any
    status: Any
    ended: Any
    evaluations: Any
    left: Any


def _with_last_step(landscape: Landscape, track: Track) -> Track:
    """Put the step by which a racer was lost into its track, where it is finite: up to where it crosses the reach."""
    positions, values, norms = track.positions.copy(), track.values.copy(), track.norms.copy()
    middle, reach = frame_of(landscape)
    for racer, start in np.argwhere(track.status == DIVERGED):
        before, ended = positions[racer, start, -1], track.ended[racer, start]
        step = track.left[racer, start] - before
        if not np.isfinite(step).all():
            continue
        end = before + _share_within(before - middle, step, reach) * step
        value, norm = float(landscape.value(end)), float(np.hypot(*landscape.gradient(end)))
        if np.isfinite(value) and np.isfinite(norm):
            positions[racer, start, ended:], values[racer, start, ended:], norms[racer, start, ended:] = (
                end,
                value,
                norm,
            )
    return track._replace(positions=positions, values=values, norms=norms)


def _share_within(start: np.ndarray, step: np.ndarray, reach: float) -> float:
    """Return the share of a step that lies in the circle of that reach around 0, from a start in it: at most 1."""
    scale = float(np.abs(step).max()) or 1.0  # the square of a step of 1e200 is no number
    along = step / scale  # |start + t along|² = reach² is solved for t
    a, half = float(along @ along), float(start @ along)
    root = (np.sqrt(half**2 + a * max(0.0, reach**2 - float(start @ start))) - half) / max(a, 1e-300)
    return min(1.0, float(root) / scale)


def record(landscape: Landscape, names: tuple[str, ...], starts: np.ndarray, track: Track) -> Race:
    """Return the record of a race."""
    track = _with_last_step(landscape, track)
    distances = np.full(track.values.shape, np.nan)
    for minimum in landscape.minima:
        distances = np.fmin(distances, np.linalg.norm(track.positions - np.asarray(minimum), axis=-1))
    whole = Race(
        landscape=landscape,
        names=names,
        starts=starts,
        positions=track.positions,
        values=track.values,
        gradient_norms=track.norms,
        distances=distances,
        status=track.status,
        ended=track.ended,
        evaluations=track.evaluations,
    )
    return dataclasses.replace(whole, messages=_messages(whole))


def chosen(race: Race, places: Sequence[int], names: tuple[str, ...]) -> Race:
    """Return the race of the racers at these places alone, under these names."""
    index = np.asarray(places, int)
    arrays = ("positions", "values", "gradient_norms", "distances", "status", "ended", "evaluations")
    parts = {name: getattr(race, name)[index] for name in arrays}
    some = dataclasses.replace(race, names=names, **parts)
    return dataclasses.replace(some, messages=_messages(some))


def _messages(race: Race) -> tuple[str, ...]:
    """Say in words who was lost, and who stopped where there is no minimum."""
    told = []
    for place, name in enumerate(race.names):
        lost = race.status[place] == DIVERGED
        if lost.any():
            first = int(race.ended[place][lost].min())
            told.append(f"{name} diverged{_count(lost)}, {'first ' if lost.sum() > 1 else ''}in step {first}")
        stopped = race.status[place] == CONVERGED
        if bends(race.landscape):
            curvatures = np.linalg.eigvalsh(race.landscape.hessian(race.positions[place, :, -1]))
            saddle = stopped & (curvatures[:, 0] < -1e-6 * np.abs(curvatures).max(axis=1))
            if saddle.any():
                told.append(
                    f"{name} stopped{_count(saddle)} where there is no minimum: the slope is 0, and the curvature "
                    "negative one way"
                )
    return tuple(told)


def _count(some: np.ndarray) -> str:
    return f" from {some.sum()} of {some.size} starts" if some.size > 1 else ""


def bends(landscape: Landscape) -> bool:
    """True where the landscape has a Hessian to ask for."""
    beneath = landscape.landscape if isinstance(landscape, Noisy) else landscape
    return not isinstance(beneath, Function) or beneath.smooth
