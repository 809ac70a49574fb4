"""Trackers: a run's metrics in TensorBoard, in MLflow, or wherever else.

>>> import thalweg as tw
>>> tw.sweep(None, "digits", trackers=[tw.tracking.TensorBoard("runs/tensorboard")])  # doctest: +SKIP
"""

from thalweg.tracking.base import EpochMetrics, RunEnd, RunStart, Tracker, TrialEnd, TrialStart
from thalweg.tracking.mlflow import MLflow
from thalweg.tracking.parse import parse_trackers
from thalweg.tracking.tensorboard import TensorBoard
from thalweg.tracking.tracked import Tracking, check_trackers, track_path

__all__ = [
    "EpochMetrics",
    "MLflow",
    "RunEnd",
    "RunStart",
    "TensorBoard",
    "Tracker",
    "Tracking",
    "TrialEnd",
    "TrialStart",
    "check_trackers",
    "parse_trackers",
    "track_path",
]
