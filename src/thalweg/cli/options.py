"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

from thalweg.data import Dataset, load
from thalweg.errors import UsageError

__all__ = ["Reading", "Track", "Whole", "parse_bytes", "parse_size"]

Track: TypeAlias = Annotated[list[str] | None, Parameter(negative="")]


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; the command line's own reader would round 2.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


Whole: TypeAlias = Annotated[int, Parameter(converter=_whole)]


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How the data is read."""

    label: Annotated[str | None, Parameter(help="The label column of a table; 'fine' or 'coarse' for CIFAR-100.")] = (
        None
    )
    skip_bad: Annotated[
        bool, Parameter(negative="", help="Leave unreadable images out, count and list them, instead of failing.")
    ] = False
    image_size: Annotated[
        str | None, Parameter(help="Resize every image: one number for a square, or HEIGHTxWIDTH.")
    ] = None

    def load(self, source: str, *, labelled: bool = True) -> Dataset:
        """Read the data set that a command names."""
        size = None if self.image_size is None else parse_size(self.image_size)
        return load(source, label=self.label, skip_bad=self.skip_bad, image_size=size, labelled=labelled)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``32`` or ``24x32`` as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise UsageError(f"image-size is {text!r}; give one number, such as 32, or HEIGHTxWIDTH, such as 24x32")


def parse_bytes(text: str) -> int:
    """Read a size such as ``4GB``, ``500MB`` or ``1073741824``."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper()[len(number) :]
    try:
        value = float(number) * units[unit.strip()]
    except (ValueError, KeyError):
        raise UsageError(f"memory is {text!r}; give a size such as 4GB or 500MB") from None
    if not math.isfinite(value) or value < 1:
        raise UsageError(f"memory is {text!r}; give a size of at least one byte")
    return int(value)
