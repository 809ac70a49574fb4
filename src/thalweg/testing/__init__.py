"""Conformance checks, one per protocol: of a loss, penalty, schedule, optimizer, model, reader or tracker of your own.

And `assert_gradient`, for any function whatever.

Each takes one concrete part (numbers, no ranges), returns nothing, and raises an
AssertionError that says what is wrong and what would be right:

    def test_my_loss():
        thalweg.testing.check_loss(MyLoss(margin=2.0))
"""

from thalweg.testing.data import check_dataset
from thalweg.testing.gradients import assert_gradient
from thalweg.testing.losses import check_loss
from thalweg.testing.models import check_model
from thalweg.testing.optimizers import check_optimizer
from thalweg.testing.penalties import check_penalty
from thalweg.testing.schedules import check_schedule
from thalweg.testing.trackers import check_tracker

__all__ = [
    "assert_gradient",
    "check_dataset",
    "check_loss",
    "check_model",
    "check_optimizer",
    "check_penalty",
    "check_schedule",
    "check_tracker",
]
