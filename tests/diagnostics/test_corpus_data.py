"""The corpus of misleading data and of data that only look so, check by check."""

from __future__ import annotations

import pytest
from corpus_judging import assert_tells_apart

from diagnostic_corpus import data_checks as corpus
from thalweg.diagnostics.base import Check
from thalweg.diagnostics.data_checks import CHECKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_the_trouble_is_found_and_nobody_sound_is_accused(check: Check) -> None:
    # Thresholds come from seed 0, rules from 0 and 1; bench_diagnostics.py has figures on seeds that set nothing.
    assert_tells_apart(check, getattr(corpus, f"{check.code}_cases")(seed=1, whole=False))
