"""What a coded check is, and how checks are run over a case."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from thalweg.diagnostics.case import Case
from thalweg.errors import ThalwegError
from thalweg.findings import SEVERITIES, Finding, Severity

__all__ = ["Check", "Diagnosis", "Need", "examine"]

# What numbers and data can do to a check; anything else is a fault of the check.
_FAILURES = (ThalwegError, np.linalg.LinAlgError, FloatingPointError, MemoryError)

# What a check cannot do without.
Need: TypeAlias = Literal["sweep", "trial", "epochs", "data", "model", "validation", "selection"]


class Check(ABC):
    """One question to a run, with a code, a severity, a threshold and a remedy.

    A subclass sets the class attributes and writes `look`, which returns `found`, `passed`
    or `not_applicable`. What it ``needs`` is checked before: where that is missing the check
    is not applicable, which is not the same as passed.

    ``code`` names it for good (two letters and two digits), ``title`` is the trouble in a few
    words, ``threshold`` where trouble begins in ``unit``, ``remedy`` what to do about it.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    remedy: ClassVar[str]
    threshold: ClassVar[float | None] = None
    unit: ClassVar[str] = ""
    needs: ClassVar[tuple[Need, ...]] = ()

    @abstractmethod
    def look(self, case: Case) -> Finding:
        """Answer the question for a case that has what the check needs."""

    def examine(self, case: Case) -> Finding:
        """Answer it for any case; where the numbers do not allow it, the check is not applicable and says why."""
        for need in self.needs:
            if missing := _missing(case, need):
                return self.not_applicable(missing)
        try:
            return self.look(case)
        except _FAILURES as error:
            return self.not_applicable(f"could not be computed: {str(error) or type(error).__name__}")

    def found(self, evidence: str, value: float | None = None, remedy: str = "") -> Finding:
        """The trouble is there; ``remedy`` takes the place of the check's own where the case asks for another."""
        return self._finding("found", evidence, value, remedy or self.remedy)

    def passed(self, evidence: str, value: float | None = None) -> Finding:
        """The trouble is not there."""
        return self._finding("passed", evidence, value, "")

    def not_applicable(self, why: str) -> Finding:
        """The question cannot be put to this case."""
        return self._finding("not applicable", why, None, "")

    def judged(self, trouble: bool, evidence: str, value: float | None = None) -> Finding:
        """Found or passed, with the same evidence."""
        return self.found(evidence, value) if trouble else self.passed(evidence, value)

    def _finding(self, verdict: Any, evidence: str, value: float | None, remedy: str) -> Finding:
        number = None if value is None else float(value)
        return Finding(
            self.code, self.title, verdict, self.severity, evidence, remedy, number, self.threshold, self.unit
        )


def _missing(case: Case, need: Need) -> str:
    """Say what a case lacks, or nothing."""
    if need == "sweep":
        return "" if case.sweep is not None else "a path has optima, not trials"
    if need == "trial" or need == "epochs":
        if case.trial is None:
            return "a path has optima, not epochs" if case.path is not None else "the run has no trial"
        return "" if need == "trial" or len(case.trial.history["data_loss"]) else "the trial has no epoch"
    if need == "data":
        return "" if case.data is not None else case.why_no_data
    if need == "model":
        if case.model is not None:
            return ""
        if case.run.model is None:
            return "nothing was selected, so no weights are kept"
        return "the weights of this trial are not kept, only the winner's are"
    if need == "validation":
        if case.data is None:
            return case.why_no_data
        return "" if case.data.validation is not None else "there is no validation split"
    selection = case.run.selection if case.sweep is not None else case.run.choice  # type: ignore[union-attr]
    return "" if selection is not None else "nothing was selected"


@dataclass(frozen=True)
class Diagnosis:
    """The findings of all checks over one case, troubles first, the gravest before."""

    findings: tuple[Finding, ...]
    subject: str

    @property
    def found(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == "found")

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended with each verdict."""
        names = ("found", "passed", "not applicable")
        return {name: sum(finding.verdict == name for finding in self.findings) for name in names}

    def __getitem__(self, code: str) -> Finding:
        """Return the finding of a code; raises KeyError where no such check was run."""
        for finding in self.findings:
            if finding.code == code:
                return finding
        raise KeyError(code)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return "\n".join([f"{self.subject}: {counts}", *map(str, self.findings)])


def examine(case: Case, checks: Sequence[Check], subject: str) -> Diagnosis:
    """Run checks over a case."""
    findings = [check.examine(case) for check in checks]
    order = {"found": 0, "passed": 10, "not applicable": 20}
    ranked = sorted(
        findings, key=lambda f: order[f.verdict] + (SEVERITIES.index(f.severity) if f.verdict == "found" else 0)
    )
    return Diagnosis(tuple(ranked), subject)
