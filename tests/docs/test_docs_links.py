"""Links and anchors of the pages lead somewhere, without the network; so do the pages that findings name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT, anchors, build, pages, prose, text_of

import thalweg as tw
from thalweg.findings import Finding

LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
MADE = {DOCS / "reference" / "cli.md", DOCS / "reference" / "api" / "thalweg.md"} | {
    DOCS / "reference" / "api" / f"{room}.md" for room in build.ROOMS
}


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(text_of(page))


def broken(page: Path) -> list[str]:
    """What a page links to and is not there."""
    found = []
    for target in LINK.findall(prose(text_of(page))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (page.parent / path).resolve() if path else page
        if file not in MADE and file != page and not (file.exists() and file.is_relative_to(ROOT)):
            found.append(f"{target}: no such file")
        elif anchor and file.suffix == ".md" and file not in MADE and anchor not in anchors_of(file):
            found.append(f"{target}: no such heading")
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_anchor_resolves(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](gone.md)\n```\n[d](e.md)\n```\n", encoding="utf-8")
    assert broken(page) == ["#three: no such heading", "gone.md: no such file"]


def test_no_page_names_another_host_for_a_picture_or_a_script() -> None:
    for page in pages():
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(img|script|link|iframe)\b", prose(text_of(page))), page


def test_links_out_of_docs_lead_to_places_in_the_site() -> None:
    source = DOCS / "how-to" / "page.md"
    code = "```\n[d](../../README.md)\n```\n"
    text = "[a](../../CONTRIBUTING.md#style) [b](../data.md) ![c](../../benchmarks/results/scaling.png)\n"
    expected = "[a](../contributing.md#style) [b](../data.md) ![c](../repository/benchmarks/results/scaling.png)\n"
    assert build.relinked(text + code, source) == expected + code
    assert build.outside_files()["contributing.md"] == ROOT / "CONTRIBUTING.md"


@pytest.mark.parametrize("code", [*(check.code for check in tw.diagnostics.CHECKS), "SA01", "SA02", "SA03"])
def test_the_page_of_every_check_resolves(code: str) -> None:
    page, _, anchor = Finding(code, "", "passed", "note", "").page.partition("#")
    assert anchor in anchors_of(ROOT / page)


def test_every_benchmark_has_the_command_that_repeats_it() -> None:
    table = text_of(DOCS / "benchmarks.md").split("\n## ")[0]
    scripts = sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))
    assert scripts == sorted(set(re.findall(r"`python benchmarks/(bench_\w+\.py)\b", table)))
