"""The text of the pages that are made when the site is built: the API, the command line, and files outside `docs/`.

Nothing here knows MkDocs; `_hooks.py` hands these texts to it, and tests read them as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import thalweg
from thalweg.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"  # in the navigation, whoever links to it

# The rooms in the order in which a reader meets them. `missing_rooms` holds this to what the package has.
ROOMS = (
    "data",
    "features",
    "augmentation",
    "models",
    "losses",
    "penalties",
    "optimizers",
    "schedules",
    "averaging",
    "search",
    "training",
    "selection",
    "paths",
    "solvers",
    "neighbors",
    "estimators",
    "artifacts",
    "elsewhere",
    "tracking",
    "report",
    "views",
    "plot",
    "gradients",
    "landscapes",
    "diagnostics",
    "testing",
)

# A Markdown link or picture: the text's end, the target, and an optional title.
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?(?:\s+\"[^\"]*\")?\))")
_FENCE = re.compile(r"^(```|~~~).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".csv": "text", ".txt": "text"}


def public_names(room: str) -> list[str]:
    """Return the names in a room's `__all__`, classes first, then functions, then constants, each in order."""
    module = importlib.import_module(f"thalweg.{room}")
    names = sorted(module.__all__, key=str.lower)
    return sorted(names, key=lambda name: _rank(getattr(module, name)))


def _rank(value: object) -> int:
    return 0 if inspect.isclass(value) else 1 if callable(value) else 2


def top_names() -> tuple[list[str], dict[str, str]]:
    """Return the names of `thalweg.__all__` that no room has, and the room of each other one."""
    homes = {}
    for name in thalweg.__all__:
        if name in ROOMS:
            homes[name] = name
            continue
        value = getattr(thalweg, name)
        for room in ROOMS:
            module = importlib.import_module(f"thalweg.{room}")
            if name in module.__all__ and getattr(module, name) is value:
                homes[name] = room
                break
    return [name for name in thalweg.__all__ if name not in homes], homes


def missing_rooms() -> set[str]:
    """Return the rooms that `thalweg.__all__` names and `ROOMS` lacks."""
    return {name for name in thalweg.__all__ if inspect.ismodule(getattr(thalweg, name))} - set(ROOMS)


def api_pages() -> dict[str, str]:
    """Return the page of each room, and `thalweg.md` for the names that stand in none: file name → Markdown."""
    own, homes = top_names()
    lines = ["# thalweg", "", "```python", "import thalweg as tw", "```", "", _module("thalweg"), ""]
    lines += [_entry("thalweg", name) for name in own]
    lines += ["## In the rooms", "", "| name | room |", "| --- | --- |"]
    for name, room in homes.items():
        anchor = "" if name == room else f"#thalweg.{room}.{name}"
        lines.append(f"| [`tw.{name}`]({room}.md{anchor}) | `thalweg.{room}` |")
    pages = {"thalweg.md": "\n".join([*lines, ""])}
    for room in ROOMS:
        home = f"thalweg.{room}"
        pages[f"{room}.md"] = "\n".join(
            [f"# {home}", "", _module(home), "", *(_entry(home, name) for name in public_names(room))]
        )
    return pages


def _module(path: str) -> str:
    """Return mkdocstrings' instruction for a module's own text."""
    return f"::: {path}\n    options:\n      members: false\n      show_root_toc_entry: false\n"


def _entry(home: str, name: str) -> str:
    """Return the place of one public name: its anchor, and mkdocstrings' instruction."""
    value = getattr(importlib.import_module(home), name)
    path = f"{home}.{name}"
    # Where a function has its module's name (data.load), its path in the room is the module's: take the definition's.
    if inspect.isroutine(value) and importlib.util.find_spec(home).submodule_search_locations and _is_module(path):
        path, anchor = f"{value.__module__}.{value.__qualname__}", f'<a id="{path}"></a>\n\n'
    else:
        anchor = ""
    inherited = "\n      inherited_members: true" if home == "thalweg.estimators" else ""
    return (
        f"{anchor}::: {path}\n    options:\n      show_root_heading: true\n      show_root_toc_entry: true{inherited}\n"
    )


def _is_module(path: str) -> bool:
    return importlib.util.find_spec(path) is not None


def in_order(folder: Path) -> list[str]:
    """Return the names of a folder's pages: its index, then the others as the index links to them."""
    index = (folder / "index.md").read_text(encoding="utf-8")
    names = [path.name for path in sorted(folder.glob("*.md")) if path.name != "index.md"]
    if lost := [name for name in names if f"({name}" not in index]:
        raise ValueError(
            f"{folder / 'index.md'} links to no {', '.join(lost)}; every page of the folder needs its line"
        )
    return ["index.md", *sorted(names, key=lambda name: index.index(f"({name}"))]


def cli_page() -> str:
    """Return the command line's page, from the program's own help: every command, every option."""
    text = app.generate_docs(output_format="markdown", recursive=True)
    head, *commands = re.split(r"^## (?=thalweg )", text, flags=re.MULTILINE)
    listing = head[head.index("**Commands**") :].split("\n", 1)[1].strip()
    parts = [
        "# The command line",
        "",
        "This page is the program's own help: `thalweg --help`, and `thalweg COMMAND --help`.",
        "",
        "Exit codes: 0 done, 2 usage, 3 data, 4 every trial diverged, 130 interrupted (what was finished is saved), "
        "1 a fault of ours. `gradcheck` has its own: 0 pass, 1 fail, 3 inconclusive.",
        "",
        listing,
        "",
    ]
    for command in commands:
        name, body = command.split("\n", 1)
        parts += [f"## {name.strip()}", "", *_further(name.split()[1]), _escaped(body.strip()), ""]
    return "\n".join(parts).replace("```console", "```sh").replace("**Parameters**:\n", "")


def _escaped(text: str) -> str:
    """Return help text with the signs that Markdown would read as links or tags made plain, code left as it is."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(
        part if place % 2 else part.replace("[", "\\[").replace("<", "&lt;") for place, part in enumerate(parts)
    )


def _further(command: str) -> list[str]:
    """Return what a command's docstring says beyond its first line."""
    text = inspect.getdoc(app[command].default_command) or ""
    paragraphs = text.split("\nParameters\n")[0].strip().split("\n\n")[1:]
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def outside_files() -> dict[str, Path]:
    """Return the files outside `docs/` that its pages link to, and those that these link to: page's path → file."""
    found = {site_path(CONTRIBUTING): CONTRIBUTING}
    waiting = [CONTRIBUTING, *sorted(DOCS.rglob("*.md"))]
    while waiting:
        source = waiting.pop()
        for target in _targets(source):
            if target.is_relative_to(DOCS) or not target.is_file() or target == ROOT / "README.md":
                continue
            place = site_path(target)
            if place not in found:
                found[place] = target
                waiting += [target] if target.suffix == ".md" else []
    return found


def site_path(file: Path) -> str:
    """Return where a file of the repository stands in the site's sources."""
    if file == ROOT / "README.md":
        return "index.md"
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS).as_posix()
    if file.parent == ROOT and file.suffix == ".md":
        return file.name.lower()
    path = f"repository/{file.relative_to(ROOT).as_posix()}"
    return f"{path}.md" if file.suffix in _LANGUAGES else path


def page_of(file: Path) -> str:
    """Return a file outside `docs/` as Markdown: a page as it is, code in a block."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return relinked(text, file)
    return f"# `{file.relative_to(ROOT).as_posix()}`\n\n````{_LANGUAGES[file.suffix]}\n{text}````\n"


def relinked(text: str, source: Path) -> str:
    """Return a page's text with each link to a file of the repository pointing at its place in the site."""
    start = posixpath.dirname(site_path(source))

    def place(match: re.Match[str]) -> str:
        target = _resolve(source, match[2])
        if target is None or not target.is_file():
            return match[0]
        return match[1] + posixpath.relpath(site_path(target), start or ".") + match[3]

    return _outside_fences(text, lambda part: _LINK.sub(place, part))


def _targets(source: Path) -> Iterator[Path]:
    text = _FENCE.sub("", source.read_text(encoding="utf-8"))
    yield from (target for match in _LINK.finditer(text) if (target := _resolve(source, match[2])) is not None)


def _resolve(source: Path, target: str) -> Path | None:
    """Return the file that a relative link of a page means, or None for a link to another host."""
    return None if re.match(r"[a-z]+:", target) else (source.parent / target).resolve()


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Return text with `change` applied to what stands outside fenced code."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
