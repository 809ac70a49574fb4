"""Numbers and counts in words, as the pages write them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["many", "percent", "seconds", "value_text"]


def many(count: int, one: str, several: str | None = None) -> str:
    """Return ``1 trial`` or ``12 trials``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def percent(share: float | None) -> str:
    """Return a share as ``96.4 %``; a dash where it is not a number."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def seconds(spent: float) -> str:
    """Return a time as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if spent < 10:
        return f"{spent:.1f} s"
    whole = round(spent)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def value_text(value: Any) -> str:
    """Write a hyperparameter's value: numbers with four significant digits, words as they are."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"
