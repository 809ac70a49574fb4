"""Findings: what a coded check saw, with the evidence, the threshold and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["SEVERITIES", "Finding", "Severity", "Verdict"]

Verdict: TypeAlias = Literal["found", "passed", "not applicable"]
Severity: TypeAlias = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One check's verdict.

    ``verdict`` is ``found`` (the trouble is there), ``passed`` (it was looked for, and is not), or
    ``not applicable`` (it could not be looked for; ``evidence`` says why). ``value`` is what was
    measured and ``threshold`` where trouble begins, both in ``unit`` (None where the evidence is no
    single number). ``severity`` is that of the check: an ``error`` makes the result wrong or useless, a
    ``warning`` makes it worse than need be or less sure than it looks, a ``note`` is worth knowing.
    """

    code: str
    title: str
    verdict: Verdict
    severity: Severity
    evidence: str
    remedy: str = ""
    value: float | None = None
    threshold: float | None = None
    unit: str = ""

    @property
    def page(self) -> str:
        """Where the documentation tells of it."""
        page = "sanity" if self.code.startswith("SA") else "diagnostics"
        return f"docs/{page}.md#{self.code.lower()}"

    def record(self) -> dict[str, Any]:
        """Return it in plain values, as ``thalweg diagnose --json`` prints it."""
        return {**vars(self), "page": self.page}

    def __str__(self) -> str:
        mark = {"found": self.severity, "passed": "passed", "not applicable": "n/a"}[self.verdict]
        if self.verdict != "found":
            return f"{self.code} {mark}: {self.evidence}"  # its title says what would be wrong
        return f"{self.code} {mark}: {self.title}. {self.evidence}" + (
            f". Remedy: {self.remedy}" if self.remedy else ""
        )
