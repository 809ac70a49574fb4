"""Trackers as they are typed on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.errors import UsageError, nearest
from thalweg.tracking.base import Tracker
from thalweg.tracking.mlflow import MLflow
from thalweg.tracking.tensorboard import TensorBoard

__all__ = ["parse_trackers"]

_KINDS = ("tensorboard", "mlflow")


def parse_trackers(texts: Sequence[str], name: str | None = None) -> list[Tracker]:
    """Read ``tensorboard[:FOLDER]`` and ``mlflow[:URI]``; ``name`` is the run's, None as the trackers choose."""
    return [_parse(text, name) for text in texts]


def _parse(text: str, name: str | None) -> Tracker:
    kind, colon, where = text.partition(":")
    if kind not in _KINDS or (colon and not where):
        raise UsageError(
            f"track is {text!r}{nearest(kind, _KINDS) if kind not in _KINDS else ''}; give tensorboard:FOLDER, such as "
            "tensorboard:runs/tensorboard, or mlflow:URI, such as mlflow:sqlite:///mlflow.db; without a place each "
            "takes its own"
        )
    if kind == "mlflow":
        return MLflow(where or None, name=name)
    return TensorBoard(where, name=name) if where else TensorBoard(name=name)
