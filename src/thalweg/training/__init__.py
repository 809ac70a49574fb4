"""Minibatch training of many trials in one compiled program."""

from thalweg.training.halving import Halving
from thalweg.training.records import METRICS, Progress, Snapshot, TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.status import STATUSES, Status
from thalweg.training.train import Outcome, train

__all__ = [
    "METRICS",
    "STATUSES",
    "Halving",
    "Outcome",
    "Progress",
    "Settings",
    "Snapshot",
    "Status",
    "TrialRecord",
    "train",
]
