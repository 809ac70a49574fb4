"""What every check has to do on its part of the corpus; importing this puts benchmarks/ on the path."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from thalweg.diagnostics import Case, Check

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def assert_tells_apart(check: Check, cases: Sequence[tuple[bool, Case]]) -> None:
    """At least 95 % of 20 or more cases made to show the trouble, 2 % at most of as many others, an answer to each."""
    findings = [(trouble, check.examine(case)) for trouble, case in cases]
    troubled = [finding for trouble, finding in findings if trouble]
    sound = [finding for trouble, finding in findings if not trouble]
    assert min(len(troubled), len(sound)) >= 20
    assert not [finding.evidence for _, finding in findings if finding.verdict == "not applicable"]
    missed = [finding.evidence for finding in troubled if finding.verdict != "found"]
    assert len(missed) <= 0.05 * len(troubled), missed
    accused = [finding.evidence for finding in sound if finding.verdict == "found"]
    assert len(accused) <= 0.02 * len(sound), accused
