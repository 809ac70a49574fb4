"""MkDocs' events: pages made at build time are added, folders in the navigation filled, links led to their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _build_pages as pages
from mkdocs.structure.files import File, Files

_API = "reference/api/"


def on_config(config: Any) -> Any:
    """Fill the navigation's folders."""
    config.nav = _filled(config.nav)
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages and files that do not stand in `docs/`."""
    if missing := pages.missing_rooms():
        raise SystemExit(f"docs/_build_pages.py: ROOMS lacks {', '.join(sorted(missing))}")
    made = {_API + name: text for name, text in pages.api_pages().items()}
    made["reference/cli.md"] = pages.cli_page()
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for place, file in pages.outside_files().items():
        if place.endswith(".md"):
            files.append(File.generated(config, place, content=pages.page_of(file)))
        else:
            files.append(File.generated(config, place, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Lead links out of `docs/` to the places that their files have in the site."""
    source = Path(page.file.abs_src_path) if page.file.abs_src_path else None
    return markdown if source is None or page.file.generated_by else pages.relinked(markdown, source)


def _filled(nav: Any) -> Any:
    if isinstance(nav, list):
        return [_filled(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: _filled(entry) for title, entry in nav.items()}
    if nav == _API:
        return [f"{_API}thalweg.md", *({f"thalweg.{room}": f"{_API}{room}.md"} for room in pages.ROOMS)]
    if isinstance(nav, str) and nav.endswith("/"):
        return [nav + name for name in pages.in_order(pages.DOCS / nav)]
    return nav
