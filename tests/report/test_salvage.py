"""What is read of run folders that are half-written, damaged, hostile or of another version."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import inspect
import json
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_cases import made_run

import thalweg.report.salvage as salvaging
from thalweg import saved_run
from thalweg.artifacts import model_file
from thalweg.artifacts.path_folder import save_path
from thalweg.artifacts.run_folder import save_run
from thalweg.data.preprocessing import Preprocessing
from thalweg.losses import Softmax
from thalweg.paths.records import Path as PathRun
from thalweg.paths.records import PathSolution
from thalweg.penalties import L2
from thalweg.report import salvage_arrays, salvage_text
from thalweg.report.salvage import File, Salvage, salvage
from thalweg.report.salvage_page import salvage_page
from thalweg.report.salvage_text import plain

HOSTILE = "</script><img src=x onerror=alert(1)>"
FILES = {
    "sweep": ("run.json", "trials.csv", "history.npz", "model.safetensors"),
    "path": ("run.json", "solutions.csv", "solutions.npz"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    run = made_run(5, diverged=1, epochs=3, classes=(HOSTILE, "bee"))
    run = dataclasses.replace(run, messages=(HOSTILE,), data=dataclasses.replace(run.data, name=HOSTILE))
    solutions = tuple(
        PathSolution(
            number, 10.0**-number, L2(10.0**-number), Softmax(), "none", np.ones((2, 8)), np.zeros(2), 1.0, 1e-9,
            "converged", 7,
        )
        for number in range(3)
    )  # fmt: skip
    shift = Preprocessing("standardize", np.zeros(8, np.float32), np.ones(8, np.float32))
    path = PathRun(solutions, 1e-8, {"beta": None}, run.data, {"total": 2.5}, shift, versions=run.versions)
    place = tmp_path_factory.mktemp("folders")
    return {"sweep": save_run(run, place / "sweep"), "path": save_path(path, place / "path")}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A sweep's folder to be damaged."""
    return shutil.copytree(folders["sweep"], tmp_path / "run")


class Tags(HTMLParser):
    """Collects a page's elements, and the attributes that a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.acting: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.acting += [name for name, _ in attributes if name.startswith("on") or name in ("src", "style")]


def sound(page: str) -> str:
    """Return a page, having seen that nothing hostile stands in it unescaped."""
    tags = Tags()
    tags.feed(page)
    assert "img" not in tags.seen
    assert tags.acting == []
    assert page.count("</script>") == 1
    assert "<img" not in page
    assert len(page.encode()) < 1_500_000
    return page


def file_of(found: Salvage, name: str) -> File:
    (file,) = (file for file in found.files if file.name == name)
    return file


def changed(folder: Path, **changes: Any) -> Salvage:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, **changes}))
    return salvage(folder)


# --- what is whole ---


def test_a_whole_sweep_is_read_whole(folders: dict[str, Path]) -> None:
    found, run = salvage(folders["sweep"]), made_run(5, diverged=1, epochs=3, classes=(HOSTILE, "bee"))
    assert (found.kind, [file.state for file in found.files]) == ("sweep", ["whole"] * 4)
    assert "data_loss 5 × 3" in file_of(found, "history.npz").about
    assert found.lacking == ("Every file could be read, and none is found damaged here.",)
    facts = found.facts
    assert run.best is not None
    assert run.test is not None
    assert (facts.count, facts.best, facts.test_accuracy) == (5, run.best.number, run.test.accuracy)
    assert facts.validation_accuracy == run.best.validation_accuracy
    assert facts.interval == run.test.interval
    assert dict(facts.statuses) == run.statuses
    assert (facts.seconds, facts.classes, facts.data) == (13.5, (HOSTILE, "bee"), HOSTILE)
    assert dict(facts.versions)["jax"] == "0.7.0"
    assert [row[0] for row in found.table.rows] == list("01234")
    assert "code" in found.others
    sound(salvage_page(found))


def test_a_path_is_read_too(folders: dict[str, Path]) -> None:
    found = salvage(folders["path"])
    assert found.kind == "path"
    assert [(file.name, file.state) for file in found.files] == [
        *((name, "whole") for name in FILES["path"]),
        ("model.safetensors", "not there"),
    ]
    assert (found.facts.count, found.facts.best, found.facts.statuses) == (3, None, (("converged", 3),))
    assert [row[0] for row in found.table.rows] == list("012")
    assert "chose no model" in sound(salvage_page(found))


# --- what is not ---


def test_it_expects_what_is_written(folders: dict[str, Path]) -> None:
    for kind, stem, columns, name, arrays in (
        ("sweep", "trials.csv", salvaging.TRIAL_COLUMNS, "history.npz", salvaging.METRICS),
        ("path", "solutions.csv", salvaging.SOLUTION_COLUMNS, "solutions.npz", salvaging.SOLUTION_ARRAYS),
    ):
        record = json.loads((folders[kind] / "run.json").read_text())
        assert record["format"] == salvaging.FORMAT == saved_run._FORMAT
        assert set(salvaging._SETTLED) <= set(record)
        assert set(columns) <= set((folders[kind] / stem).read_text().splitlines()[0].split(","))
        with np.load(folders[kind] / name, allow_pickle=False) as held:
            assert set(arrays) <= set(held)
    assert inspect.signature(salvage_arrays.check_model).parameters["version"].default == model_file._FORMAT


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "nul\0"):
        page = sound(salvage_page(salvage(folder)))
        assert "Run it again with --overwrite" in page
    assert salvage(tmp_path / "nowhere").lacking[0] == "There is no such folder."
    assert salvage(tmp_path).lacking == tuple(f"{name} is missing." for name in FILES["sweep"])


def test_the_reason_stands_first(copied: Path) -> None:
    (copied / "history.npz").unlink()
    found = salvage(copied, why=f"{HOSTILE} is damaged")
    assert found.lacking == (f"{HOSTILE} is damaged", "history.npz is missing.")
    page = sound(salvage_page(found))
    assert page.index("What is lacking") < page.index("is damaged") < page.index("history.npz is missing")
    assert page.index("history.npz is missing") < page.index("Run it again") < page.index("As run.json has it")


def test_another_version_is_named(copied: Path) -> None:
    found = changed(copied, format=2, versions={"thalweg": "7.1"}, best={"trial": "two", "validation_accuracy": 0.5})
    assert found.lacking[0].startswith("run.json has format 2; this version reads 1.")
    assert found.remedies[0] == "Use the version of Thalweg that wrote it, 7.1."
    assert found.facts.best is None
    assert found.facts.validation_accuracy == 0.5
    sound(salvage_page(found))


def test_a_table_that_ends_early(copied: Path) -> None:
    whole = (copied / "trials.csv").read_bytes()
    lines = whole.splitlines(keepends=True)
    (copied / "trials.csv").write_bytes(b"".join(lines[:4]))
    assert file_of(salvage(copied), "trials.csv").about == "it holds 3 of 5 rows"
    (copied / "trials.csv").write_bytes(b"".join(lines[:4]) + lines[4][:9])
    found = salvage(copied)
    about = file_of(found, "trials.csv").about
    assert about.startswith("its last line is cut off; 1 of 4 rows have more or fewer cells")
    assert [row[0] for row in found.table.rows] == list("0123")
    (copied / "trials.csv").write_bytes(whole.replace(b"trained_epochs", b"epochs"))
    assert file_of(salvage(copied), "trials.csv").about == "there is no column trained_epochs"
    (copied / "trials.csv").write_bytes(b"")
    assert file_of(salvage(copied), "trials.csv").about.startswith("it is empty")
    (copied / "trials.csv").write_bytes(b'"' + whole.replace(b'"', b"") * 300)  # one cell without an end
    assert "cannot be read beyond row 0" in file_of(salvage(copied), "trials.csv").about


def test_a_huge_table_is_not_read_whole(copied: Path) -> None:
    row = f"3,completed,,{HOSTILE}{'x' * 500},False,False,,0,3,3\n".encode()
    head = b"trial,status,at,reason,best,tied,p_value,cohort,trained_epochs,kept_epoch\n"
    with open(copied / "trials.csv", "wb") as file:
        file.write(head + row * 9000)
        file.truncate(10**9)  # sparse: takes no room on the disk
    found = salvage(copied)
    assert (found.table.total, len(found.table.rows)) == (None, 200)
    assert max(len(cell) for row in found.table.rows for cell in row) == salvage_text.MOST_CELL
    page = sound(salvage_page(found))
    assert "The first 200 trials of trials.csv, which is too large to be read whole." in page


def test_many_columns_and_rows_are_capped(copied: Path) -> None:
    with open(copied / "trials.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[f"c{i}" for i in range(500)], *([["v"] * 500] * 300)])
    found = salvage(copied)
    assert (len(found.table.columns), len(found.table.rows), found.table.total) == (60, 200, 300)
    assert "The first 200 of 300 rows of trials.csv." in sound(salvage_page(found))


class Evil:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_nothing_is_unpickled(copied: Path, tmp_path: Path) -> None:
    with np.load(copied / "history.npz") as file:
        arrays = dict(file)
    arrays["data_loss"] = np.array([Evil(tmp_path / "trace")], dtype=object)
    np.savez(copied / "history.npz", **arrays)  # allows pickles
    found = file_of(salvage(copied), "history.npz")
    assert found.state == "damaged"
    assert "holds Python objects, which are never read" in found.about
    assert not (tmp_path / "trace").exists()


def test_arrays_are_held_to_their_names_lengths_and_bounds(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(copied / "history.npz", data_loss=np.zeros((5, 3)))
    assert file_of(salvage(copied), "history.npz").about == ("there is no array validation_loss, validation_accuracy")
    np.savez(copied / "history.npz", **{f"a{i}": np.zeros(1) for i in range(100)})
    assert file_of(salvage(copied), "history.npz").about.startswith("it holds more than 64 arrays")
    metrics = ("data_loss", "validation_loss", "validation_accuracy")
    np.savez_compressed(copied / "history.npz", **{name: np.zeros((5, 10**5)) for name in metrics})
    monkeypatch.setattr(salvage_arrays, "MOST_READ", 10**6)  # of the 12 MB that 12 kB unpack to
    monkeypatch.setattr(salvage_arrays, "_CHUNK", 10**5)
    assert file_of(salvage(copied), "history.npz").about.endswith("; beyond 1 MB it was not checked")


def test_one_flipped_bit_of_a_models_numbers_is_found(copied: Path) -> None:
    content = bytearray((copied / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (copied / "model.safetensors").write_bytes(content)
    assert file_of(salvage(copied), "model.safetensors").about == "its numbers are not those that were written"
    (copied / "model.safetensors").write_bytes(content[:-10])
    assert "its arrays take" in file_of(salvage(copied), "model.safetensors").about


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_and_links_are_not_read(copied: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("trial,status\n0,a secret\n")
    for name in ("trials.csv", "run.json"):
        (copied / name).unlink()
    (copied / "trials.csv").symlink_to(secret)
    os.mkfifo(copied / "run.json")  # opened as files are, it would wait for ever
    found = salvage(copied)
    assert file_of(found, "run.json").about == "it is no ordinary file"
    assert file_of(found, "trials.csv").about == "it is a link, which is not followed here"
    assert "a secret" not in sound(salvage_page(found))


def test_texts_are_made_fit_for_a_page() -> None:
    assert plain("a\r\n\tb\x00c\u202ed\ud800e\ufeff") == "a b\ufffdc\ufffdd\ufffde\ufffd"
    assert plain("x" * 1000) == "x" * 299 + "…"
    assert plain("naïve 猫") == "naïve 猫"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b'{"a":' * 100_000, b"\xff\xfe", b'{"trials": 1' + b"0" * 5000 + b"}", b"NaN",
        b'{"seconds": {"total": NaN}, "trials": 1e999, "messages": ["\\ud800"], "versions": {"thalweg": "\\u202e"}}',
    ],
)  # fmt: skip
def test_a_run_json_that_is_none(content: bytes, copied: Path) -> None:
    (copied / "run.json").write_bytes(content)
    found = salvage(copied)
    assert file_of(found, "run.json").state == "damaged"
    assert (found.facts.count, found.facts.seconds) == (None, None)
    sound(salvage_page(found)).encode()
    shutil.rmtree(copied / "code")
    (copied / "trials.csv").rename(copied / "solutions.csv")
    assert salvage(copied).kind == ("sweep" if content.startswith(b'{"seconds') else "path")


# --- whatever the bytes ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(HOSTILE) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just(HOSTILE) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = (
    "format",
    "kind",
    "trials",
    "statuses",
    "seconds",
    "best",
    "test",
    "data",
    "messages",
    "versions",
    "interrupted",
)


@contextlib.contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    """A copy of a folder for one example: files are linked, so replace one, never write into it."""
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name} copied"), copy_function=os.link)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


@settings(max_examples=60)
@given(changes=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), inner=JSON)
def test_any_value_may_stand_at_any_key(changes: dict[str, Any], inner: Any, folders: dict[str, Path]) -> None:
    with copy_of(folders["sweep"]) as folder:
        record = json.loads((folder / "run.json").read_text())
        record["best"]["trial"] = record["data"]["classes"] = record["test"]["interval"] = inner
        (folder / "run.json").unlink()
        (folder / "run.json").write_text(json.dumps({**record, **changes}))
        sound(salvage_page(salvage(folder))).encode()


@settings(max_examples=150)
@given(kind_and_name=st.sampled_from([(kind, name) for kind, names in FILES.items() for name in names]), data=st.data())
def test_truncated_or_flipped_bytes_never_raise(
    kind_and_name: tuple[str, str], data: st.DataObject, folders: dict[str, Path]
) -> None:
    kind, name = kind_and_name
    content = bytearray((folders[kind] / name).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with copy_of(folders[kind]) as folder:
        (folder / name).unlink()
        (folder / name).write_bytes(content)
        found = salvage(folder)
        sound(salvage_page(found)).encode()
        if len(content) < (folders[kind] / name).stat().st_size and name != "run.json":
            assert file_of(found, name).state == "damaged"
