"""From the arrays of a race to its record: the last step of the lost, distances, and messages in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from thalweg.landscapes.base import Landscape
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.starts import frame_of
from thalweg.landscapes.wrapped import hessian_fault

__all__ = ["CONVERGED", "DIVERGED", "RUNNING", "STALLED", "Track", "chosen", "record"]

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
    middle, reach = frame_of(landscape)
    lost = track.status == DIVERGED  # (R, S)
    lost &= np.isfinite(track.left).all(axis=-1)
    if not lost.any():
        return track
    before = track.positions[lost, -1]  # (lost, 2)
    step = track.left[lost] - before
    ends = before + _share_within(before - middle, step, reach)[:, None] * step
    with np.errstate(over="ignore", invalid="ignore"):
        values, norms = np.asarray(landscape.value(ends)), np.hypot(*np.asarray(landscape.gradient(ends)).T)
    # From that step on, and only where it leads to numbers.
    sound = np.isfinite(values) & np.isfinite(norms)
    after = sound[:, None] & (np.arange(track.values.shape[-1]) >= track.ended[lost][:, None])  # (lost, T + 1)
    new = {"positions": ends, "values": values, "norms": norms}
    arrays = {name: getattr(track, name).copy() for name in new}
    for name, array in arrays.items():
        where = after[..., None] if array.ndim == 4 else after
        array[lost] = np.where(where, new[name][:, None], array[lost])
    return track._replace(**arrays)


def _share_within(starts: np.ndarray, steps: np.ndarray, reach: float) -> np.ndarray:
    """Return the share, at most 1, of each step (n, 2) that lies in the circle of that reach around 0.

    All starts lie in it. |start + t · step|² = reach² is solved for t.
    """
    scale = np.abs(steps).max(axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    along = steps / scale[:, None]  # the square of a step of 1e200 is no number
    a, half = np.sum(along**2, axis=1), np.sum(starts * along, axis=1)
    room = np.maximum(0.0, reach**2 - np.sum(starts**2, axis=1))
    root = (np.sqrt(half**2 + a * room) - half) / np.maximum(a, 1e-300)
    return np.minimum(1.0, root / scale)


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
    saddles = _at_saddles(race)
    for place, name in enumerate(race.names):
        lost = race.status[place] == DIVERGED
        if lost.any():
            first = int(race.ended[place][lost].min())
            told.append(f"{name} diverged{_count(lost)}, {'first ' if lost.sum() > 1 else ''}in step {first}")
        if saddles[place].any():
            told.append(
                f"{name} stopped{_count(saddles[place])} where there is no minimum: the slope is 0, and the curvature "
                "negative one way"
            )
    return tuple(told)


def _at_saddles(race: Race) -> np.ndarray:
    """Return who converged to where the curvature is negative one way, (R, S): nobody where there is no Hessian."""
    saddle = race.status == CONVERGED
    if saddle.any() and not hessian_fault(race.landscape):
        curvatures = np.linalg.eigvalsh(race.landscape.hessian(race.positions[saddle, -1]))
        saddle[saddle] = curvatures[:, 0] < -1e-6 * np.abs(curvatures).max(axis=1)
        return saddle
    return np.zeros_like(saddle)


def _count(some: np.ndarray) -> str:
    return f" from {some.sum()} of {some.size} starts" if some.size > 1 else ""
