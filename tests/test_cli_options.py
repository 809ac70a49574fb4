"""Sizes as they are typed on the command line."""

from __future__ import annotations

import pytest

from thalweg.cli.options import parse_bytes
from thalweg.errors import UsageError


@pytest.mark.parametrize(("text", "count"), [("4GB", 4 * 10**9), ("500 mb", 5 * 10**8), ("123", 123), ("1.5kB", 1500)])
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4 XB", "nan", "1e400", "0", "0.5"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="memory"):
        parse_bytes(text)
