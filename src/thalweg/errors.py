"""The errors that Thalweg raises on purpose.

Each message names the file or argument, the value found, and what to do about
it. The command line turns the class into an exit code: usage 2, data 3,
divergence 4; anything else is a fault of ours (1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = ["DataError", "DivergedError", "ThalwegError", "UsageError", "nearest"]


class ThalwegError(Exception):
    """Base of all errors that a user can mend.

    ``run`` holds what was done before the error, where that is worth saving (a `Run`).
    """

    exit_code = 1
    run: Any = None


class UsageError(ThalwegError, ValueError):
    """An argument, a recipe or a command that cannot be carried out."""

    exit_code = 2


class DataError(ThalwegError, ValueError):
    """Data that is missing, damaged or does not fit what is asked of it."""

    exit_code = 3


class DivergedError(ThalwegError, ArithmeticError):
    """Every trial's loss left the finite numbers, so there is nothing to select."""

    exit_code = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint `` (did you mean 'x'?)``, or nothing where no name is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""
