"""The corpus of misleading data and of data that only look so, check by check."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from diagnostic_corpus import data_checks as corpus
from thalweg.diagnostics.data_checks import CHECKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_troubles_are_found_and_nothing_else(check) -> None:
    """At least 95 % of those made to show it, none of the others, and an answer to every case."""
    with jax.numpy_rank_promotion("allow"):
        cases = getattr(corpus, f"{check.code}_cases")(seed=1, whole=False)
        found = [(trouble, check.examine(case)) for trouble, case in cases]
    hits = [finding.verdict == "found" for trouble, finding in found if trouble]
    alarms = [finding.evidence for trouble, finding in found if not trouble and finding.verdict == "found"]
    assert min(len(hits), len(found) - len(hits)) >= 20
    assert sum(hits) >= 0.95 * len(hits)
    assert not alarms
    assert not [finding.evidence for _, finding in found if finding.verdict == "not applicable"]
