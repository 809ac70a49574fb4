"""The verdict of a gradient check: what is wrong where, how sure that is, and what to look at next."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from thalweg.gradients.space import Space

__all__ = ["Entry", "Verdict"]


@dataclass(frozen=True)
class Entry:
    """One entry of the gradient: the derivative claimed and the one found, with its error bar."""

    name: str
    index: tuple[int, ...]
    leaf: str
    analytic: float
    numeric: float
    error: float
    output: int | None = None  # of several outputs
    sides: tuple[float, float] | None = None  # the slopes on the left and the right, at a kink

    @classmethod
    def at(
        cls, space: Space, index: int, analytic: float, numeric: float, error: float,
        output: int | None = None, sides: tuple[float, float] | None = None,
    ) -> Entry:  # fmt: skip
        """Return the record of entry ``index`` of a point."""
        leaf = space.leaf_of(index)
        return cls(f"x{space.name(index)}", space.index(index), leaf.name, analytic, numeric, error, output, sides)

    @property
    def relative_error(self) -> float:
        """|a − n| / max(|a|, |n|)."""
        size = max(abs(self.analytic), abs(self.numeric))
        if not math.isfinite(size):
            return math.inf
        return abs(self.analytic - self.numeric) / size if size else 0.0

    def __str__(self) -> str:
        of = "" if self.output is None else f" of output {self.output}"
        if self.sides is not None:
            left, right = self.sides
            slopes = f"slope {left:.4g} on the left, {right:.4g} on the right"
            return f"{self.name}{of}: analytic {self.analytic:.9g}, a kink: {slopes}"
        if not math.isfinite(self.numeric):
            return f"{self.name}{of}: analytic {self.analytic:.9g}, no numeric derivative"
        return (
            f"{self.name}{of}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g} ± {self.error:.1g} "
            f"(relative error {self.relative_error:.1e})"
        )


@dataclass(frozen=True)
class Verdict:
    """What a gradient check found.

    ``status`` is "pass", "fail" or "inconclusive"; ``worst`` the entry that decided a
    fail or is least sure; ``reasons`` say why in words, ``hints`` what the pattern of
    the errors looks like. ``entries`` of the ``size`` entries were checked one by
    one, the others by ``directions`` random directions; a wrong entry that the
    error bars can show is missed with probability at most ``miss``. ``resolution``
    is the relative error that the bars can show in 99 % of the entries (NaN where no
    pass was in question). ``planted`` says whether the check caught an error that it
    made itself.
    """

    status: str
    what: str
    size: int
    entries: int
    directions: int
    evaluations: int
    miss: float
    resolution: float
    worst: Entry | None = None
    wrong: tuple[Entry, ...] = ()
    reasons: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    planted: str = "not tried"
    notes: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        """True for a pass alone: nothing less should satisfy an ``assert``."""
        return self.status == "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain numbers, texts and lists, for JSON; infinite and NaN become None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def __str__(self) -> str:
        lines = [f"{self.status}: {self.what}, {self._how()}"]
        if self.status != "pass":
            lines += [f"  {entry}" for entry in (self.wrong or ((self.worst,) if self.worst else ()))]
        lines += [f"  {reason}" for reason in self.reasons]
        lines += [f"  looks like: {hint}" for hint in self.hints]
        if self.status == "pass" and math.isfinite(self.resolution):
            lines.append(f"  would see 99 % of the entries if off by {self._resolved()}; planted error: {self.planted}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _resolved(self) -> str:
        """Return the resolution as a share in percent, or a factor."""
        percent = 100 * self.resolution
        if percent < 1:
            return f"{percent:.1g} %"
        return f"{percent:.0f} %" if percent < 100 else f"a factor of {1 + self.resolution:.2g}"

    def _how(self) -> str:
        if self.directions:
            how = f"{self.directions} random directions over {self.size:,} entries"
            if self.entries:
                how += f", {self.entries} of them also alone"
            if self.status == "pass":
                how += f" (a wrong entry is missed with probability at most {self.miss:.0e})"
        else:
            how = f"all {self.size:,} entries" if self.size > 1 else "its only entry"
        return f"{how}, {self.evaluations:,} evaluations"


def _plain(value: Any) -> Any:
    """Write tuples as lists, and what JSON has no number for as None."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
