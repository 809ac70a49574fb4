"""Every public name has a docstring and its place in the reference, every command and option its help and its line."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError
from docs_pages import DOCS, ROOT, blocks, build, pages

import thalweg as tw
from thalweg.cli.app import app

COMMANDS = [name for name in app if not name.startswith("-")]


@pytest.fixture(scope="module")
def api() -> dict[str, str]:
    return build.api_pages()


def texts(room: str) -> set[str]:
    """The names in a room's source that have a text under them: a docstring of a constant or an alias."""
    home = ROOT / "src" / "thalweg" / room
    found = set()
    for file in sorted(home.glob("*.py")) if home.is_dir() else [home.with_suffix(".py")]:
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for node, following in pairwise(body):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(following, ast.Expr):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def entries(page: str) -> list[str]:
    """The paths that a page hands to mkdocstrings."""
    return re.findall(r"^::: (\S+)$", page, re.MULTILINE)


def test_every_room_has_a_page() -> None:
    folders = {path.parent.name for path in (ROOT / "src" / "thalweg").glob("*/__init__.py")}
    modules = {name for name in tw.__all__ if inspect.ismodule(getattr(tw, name))}
    assert folders - {"cli"} | modules == set(build.ROOMS)
    assert build.missing_rooms() == set()


@pytest.mark.report  # others find another function in write_report's place
@pytest.mark.parametrize("room", build.ROOMS)
def test_every_public_name_has_a_docstring_and_a_place(room: str, api: dict[str, str]) -> None:
    module = importlib.import_module(f"thalweg.{room}")
    assert module.__doc__
    shown = entries(api[f"{room}.md"])
    for name in module.__all__:
        place = f"thalweg.{room}.{name}"
        assert place in shown or f'<a id="{place}"></a>' in api[f"{room}.md"], place
        value = getattr(module, name)
        own = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert own, f"{place} has no docstring"
            assert not own.startswith(f"{name}("), f"{place}: its docstring is dataclasses' own"
        else:
            assert name in texts(room), f"{place} has no text under it"


def test_every_name_of_the_package_has_a_place(api: dict[str, str]) -> None:
    own, homes = build.top_names()
    assert {*own, *homes} == set(tw.__all__)
    assert {f"thalweg.{name}" for name in own} < set(entries(api["thalweg.md"]))
    for name in own:
        assert getattr(tw, name).__doc__
    for name, room in homes.items():
        assert f"[`tw.{name}`]({room}.md" in api["thalweg.md"]


def test_every_command_and_option_has_help_and_a_line() -> None:
    page = build.cli_page()
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        assert app[command].help, command
        section = page.split(f"\n## thalweg {command}\n")[1].split("\n## ")[0]
        assert f"- [`{command}`](#thalweg-{command}): " in page.replace("* [", "- [")
        arguments = app[command].assemble_argument_collection(parse_docstring=True)
        assert len(arguments) > 1
        for argument in arguments.filter_by(show=True):
            assert argument.parameter.help, f"thalweg {command} {argument.name} has no help"
            [line] = re.findall(rf"^\* `[^`]*{re.escape(argument.name)}(?![\w-])[^`]*`: (.+)", section, re.MULTILINE)
            assert line


def commands() -> list[tuple[str, str]]:
    """Every command line on the pages, with where it stands."""
    found = []
    for page in pages():
        for block in blocks(page, "", "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [
                (str(page.relative_to(ROOT)), line) for line in lines if re.match(r"(\.venv/bin/)?thalweg ", line)
            ]
    return found


def test_every_command_line_on_the_pages_is_one_that_the_program_takes() -> None:
    lines = commands()
    assert len(lines) > 60
    for place, line in lines:
        tokens = shlex.split(re.split(r"\s[|>]\s", line)[0], comments=True)[1:]
        try:
            app.parse_args(tokens, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            pytest.fail(f"{place}: {line!r}: {error}")


def test_a_command_line_that_is_wrong_is_seen() -> None:
    with pytest.raises(CycloptsError):
        app.parse_args(["sweep", "photos", "--trails", "3"], exit_on_error=False, print_error=False)


def bound_names(tree: ast.Module) -> dict[str, Any]:
    """What a block's imports bind to parts of Thalweg; an import of something that is not there raises."""
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "thalweg":
                    module = importlib.import_module(alias.name)
                    names[alias.asname or "thalweg"] = module if alias.asname else tw
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "thalweg":
            home = importlib.import_module(node.module or "")
            for alias in node.names:
                names[alias.asname or alias.name] = getattr(home, alias.name)
    return names


def missing(code: str, known: dict[str, Any]) -> list[str]:
    """The attributes of Thalweg's modules that a block of Python names and that are not there."""
    tree = ast.parse(code)
    known.update(bound_names(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain, at = [node.attr], node.value
            while isinstance(at, ast.Attribute):
                chain, at = [at.attr, *chain], at.value
            value = known.get(at.id) if isinstance(at, ast.Name) else None
            for name in chain if inspect.ismodule(value) else ():
                if not inspect.ismodule(value):
                    break
                if not hasattr(value, name):
                    found.append(f"{value.__name__}.{name}")
                    break
                value = getattr(value, name)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_the_pages_names_what_there_is(page: Path) -> None:
    known: dict[str, Any] = {"tw": tw}
    for code in blocks(page, "python"):
        assert missing(code, known) == []


def test_a_name_that_is_not_there_is_seen() -> None:
    assert missing("import thalweg as tw\ntw.losses.Hinges()\ntw.sweep(None)\n", {}) == ["thalweg.losses.Hinges"]
    with pytest.raises(AttributeError):
        missing("from thalweg.losses import Hinges", {})


def test_the_navigation_holds_the_folders_that_are_made() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS).as_posix()
        assert re.search(rf"(: |- ){re.escape(name)}$", text, re.MULTILINE) or name.startswith("lessons/"), name
