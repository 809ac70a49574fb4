"""The list of all checks, in the order in which a person would ask."""

from __future__ import annotations

from thalweg.diagnostics import data_checks, fitting, networks, search_checks
from thalweg.diagnostics.base import Check
from thalweg.diagnostics.convergence import CONVERGENCE_CHECKS
from thalweg.diagnostics.learning_rate import LEARNING_RATE_CHECKS
from thalweg.diagnostics.rate_limit import RateAboveLimit

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (
    *search_checks.CHECKS,
    *LEARNING_RATE_CHECKS,
    RateAboveLimit(),
    *CONVERGENCE_CHECKS,
    *fitting.CHECKS,
    *networks.CHECKS,
    *data_checks.CHECKS,
)
"""Every coded check of `diagnose`, in the order in which they are asked."""
