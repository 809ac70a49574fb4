"""Small data for the tests of trackers."""

from __future__ import annotations

from typing import Any

import pytest

import thalweg as tw
from test_sweep import blobs


@pytest.fixture(scope="session")
def small() -> Any:
    return tw.load(blobs(120))
