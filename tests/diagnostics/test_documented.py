"""Every check has its place in the documentation, and what the documentation names exists."""

from __future__ import annotations

import re
from pathlib import Path

import thalweg as tw
from thalweg.diagnostics.before import sanity

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_every_code_has_its_heading_and_every_heading_its_check() -> None:
    text = (DOCS / "diagnostics.md").read_text(encoding="utf-8")
    codes = [check.code for check in tw.diagnostics.CHECKS]
    assert sorted(re.findall(r"^### (\w+)$", text, flags=re.MULTILINE)) == sorted(codes)
    table = [line.split("|")[1:3] for line in text.splitlines() if re.match(r"\| [A-Z]{2}\d\d \|", line)]
    assert [(code.strip(), title.strip()) for code, title in table] == [
        (check.code, check.title) for check in tw.diagnostics.CHECKS
    ]
    assert f"{len(codes)} coded checks" in text


def test_findings_point_at_headings() -> None:
    generator = tw.data.toy.rings(60, seed=0)
    for finding in sanity(tw.Recipe(batch_size=16, epochs=1), generator):
        page, anchor = finding.page.split("#")
        text = (DOCS.parent / page).read_text(encoding="utf-8")
        assert re.search(rf"^## {anchor}$", text, flags=re.MULTILINE | re.IGNORECASE)
