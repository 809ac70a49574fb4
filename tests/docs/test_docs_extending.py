"""The code on the pages about extending runs as it stands, and its parts train together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs_pages import DOCS, blocks

from thalweg.data.options import Options
from thalweg.errors import DataError


def run(page: str, names: dict[str, Any], *, only: int | None = None) -> dict[str, Any]:
    """Run a page's blocks of Python one after another, as a reader would."""
    path = DOCS / "extending" / f"{page}.md"
    for code in blocks(path, "python")[:only]:
        exec(compile(code, str(path), "exec", dont_inherit=True), names)
    return names


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """What the pages define; each page's last line of a part is its conformance check."""
    names: dict[str, Any] = {"__name__": "extended"}
    for page in ("loss", "penalty", "schedule"):
        [code] = blocks(DOCS / "extending" / f"{page}.md", "python")
        assert f"\ncheck_{page}(" in code
        run(page, names)
    return names


def test_the_loss_is_the_square_of_the_hinge(parts: dict[str, Any]) -> None:
    scores, labels = np.array([[1.0, 3.0], [0.0, -5.0]], np.float32), np.array([0, 0])
    assert parts["SquaredHinge"](2.0)(scores, labels).tolist() == [16.0, 0.0]


def test_the_penalty_is_l2_within_and_l1_beyond(parts: dict[str, Any]) -> None:
    huber = parts["Huber"](2.0, delta=0.5)
    assert huber.value(np.array([0.25, -3.0], np.float32)) == 2 * (0.25**2 / 1 + 3 - 0.25)


def test_the_schedule_falls_by_equal_factors(parts: dict[str, Any]) -> None:
    bound = parts["Exponential"](1.0, factor=1e-2).bind(steps=100, steps_per_epoch=10, batch_size=1)
    np.testing.assert_allclose(bound(np.array([0, 50, 100, 200])), [1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_all_parts_train_together(parts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    [code] = [code for code in blocks(DOCS / "extending" / "optimizer.md", "python") if "check_optimizer" in code]
    # Its check is run by tests/optimizers/test_contributing.py.
    exec(compile(code.rsplit("check_optimizer(", 1)[0], "optimizer.md", "exec", dont_inherit=True), parts)
    run("index", parts)
    assert "SquaredHinge" in capsys.readouterr().out
    assert parts["run"].test.accuracy > 0.5  # of ten classes, by classes of which the package knows nothing


def test_the_reader_reads_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        names = run("reader", {"__name__": "extended"})
    finally:
        os.chdir(before)
    assert names["pets"].classes == ("cat", "dog")
    assert names["pets"].train.features.shape == (20, 3)
    assert "LIBSVM" in capsys.readouterr().out
    for text, message in (
        ("a 0:1\nb 1:1", "example 1 holds '0:1'; give INDEX:VALUE with an index from 1"),
        ("a 1:1\nb 2", "example 2 holds '2'"),
        ("a 1:1\nb 999999999999:1", "GiB"),
        ("a 1:nan\nb 1:1", "nan"),
    ):
        (tmp_path / "bad.svm").write_text(text, encoding="ascii")
        with pytest.raises(DataError, match=message):
            names["read"](tmp_path / "bad.svm", Options())
