"""The corpus of benchmarks/ for the checks of networks: the troubles are found, and nobody sound is accused."""

from __future__ import annotations

import pytest
from corpus_judging import assert_tells_apart

from diagnostic_corpus import networks as corpus
from thalweg.diagnostics.base import Check
from thalweg.diagnostics.networks import CHECKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_the_trouble_is_found_and_nobody_sound_is_accused(check: Check) -> None:
    # Thresholds come from seeds 0 and 2: these runs have other data, weights and orders.
    assert_tells_apart(check, getattr(corpus, f"{check.code}_cases")(seed=1, whole=False))
