"""The list of all checks, in the order in which a person would ask."""

from __future__ import annotations

from thalweg.diagnostics.base import Check

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = ()
