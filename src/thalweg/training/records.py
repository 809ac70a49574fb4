"""What is written down about each trial while it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.training.status import Status

__all__ = ["METRICS", "Progress", "Snapshot", "TrialRecord"]

METRICS = {
    "data_loss": "mean data loss over the epoch's minibatches, each at the weights it met",
    "penalty": "strength × R(W) at the epoch's end",
    "validation_loss": "mean data loss on the validation split",
    "validation_accuracy": "share of the validation split predicted right",
    "learning_rate": "learning rate of the epoch's last step",
    "gradient_norm": "norm of the full, unclipped gradient (data and smooth penalty) at the epoch's last step",
    "weight_norm": "norm of the weights, biases left out, at the epoch's end",
    "update_ratio": "norm of the last step's change over the norm of the weights it changed",
}
"""Every metric of a trial, one number an epoch, and what it is."""


@dataclass
class TrialRecord:
    """One trial's metrics, status and weights. ``history`` maps a metric to its values by epoch."""

    status: Status | None = None
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    kept_epoch: int = 0  # the epoch (from 1) whose weights are kept
    params: Any = None
    model_state: Any = None
    correct: np.ndarray | None = None  # (validation examples,) bool, by the kept weights

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.history["data_loss"])

    def last(self, metric: str) -> float:
        """Return a metric at the kept epoch, NaN before the first."""
        values = self.history[metric]
        return values[self.kept_epoch - 1] if values else float("nan")


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands: what one line of progress can say."""

    trials: int
    live: int
    finished: int
    pruned: int
    diverged: int
    best: float  # highest validation accuracy so far
    work_done: float  # share of all trial-epochs, 0…1
    message: str | None = None  # something worth a line of its own
    stage: str | None = None  # where the work stands while nothing trains

    @classmethod
    def beginning(cls, trials: int, message: str) -> Snapshot:
        """Nothing trained yet."""
        return cls(trials, trials, 0, 0, 0, float("nan"), 0.0, message)

    @classmethod
    def preparing(cls, trials: int, stage: str) -> Snapshot:
        """Nothing trained yet, and other work on the way."""
        return cls(trials, trials, 0, 0, 0, float("nan"), 0.0, stage=stage)


Progress = Callable[[Snapshot], None]
"""What is called after every epoch, with the trials' state at that moment."""
