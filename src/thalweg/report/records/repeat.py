"""What it takes to repeat a run: commands, recipes, versions, the data's fingerprint; and its code for elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.artifacts.path_folder import path_record
from thalweg.artifacts.run_folder import finite, recipe_texts, run_record
from thalweg.elsewhere import FRAMEWORKS
from thalweg.elsewhere.runs import code_of_run
from thalweg.errors import UsageError
from thalweg.paths.records import Path
from thalweg.paths.strengths import grid
from thalweg.recipe import as_features
from thalweg.recipe_files import encode
from thalweg.report.records.repeat_python import loading_code, path_code, sweep_code
from thalweg.run import Run
from thalweg.search import dimensions

__all__ = ["RepeatRecord", "repeat_record"]

# Settings of the library by their options, with the values that need no naming.
_SWEEP = {
    "trials": ("--trials", 32), "seed": ("--seed", 0), "seeds": ("--seeds", 1), "search": ("--search", "sobol"),
    "points": ("--points", None), "patience": ("--patience", None), "tolerance": ("--tolerance", None),
    "selection": ("--select", "best"), "preprocessing": ("--preprocessing", "auto"),
    "validation": ("--validation", None), "test": ("--test", None),
}  # fmt: skip
_PATH = {
    "penalty": ("--penalty", "l2"), "beta": ("--beta", None), "folds": ("--folds", 5), "seed": ("--seed", 0),
    "selection": ("--select", "best"), "test": ("--test", None), "preprocessing": ("--preprocessing", "auto"),
    "iterations": ("--iterations", 5000),
}  # fmt: skip
_COUNT = 45  # strengths, without --strengths
_READING = {"label": ("--label", None), "image_size": ("--image-size", None)}


@dataclass(frozen=True)
class RepeatRecord:
    """How to repeat a run.

    ``command`` is a command line ("" where none says what was asked for, with the reason in ``note``), ``python`` the
    same in Python, and ``loading`` how to load what is saved ("" where nothing is); ``space`` and ``recipe`` are recipe
    files ("" where a part was Python code); ``elsewhere`` holds (framework, code) pairs;
    ``facts`` what the numbers depend on; ``seconds`` where the time went.
    """

    command: str
    python: str
    space: str
    recipe: str
    elsewhere: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
    note: str = ""
    loading: str = ""


def repeat_record(run: Run | Path, folder: str | None = None) -> RepeatRecord:
    """Read it from a run or a path; ``folder`` is where it is saved."""
    is_path = isinstance(run, Path)
    # A run made in Python knows the kind of its data's file, not the place, unless the data is built in.
    source = run.settings.get("data", run.data.address if run.data.source.startswith("built in") else None)
    texts = {} if isinstance(run, Path) else recipe_texts(run)
    note = why = _why_none(run, source, texts)
    if not is_path:
        note += (" " if note else "") + (
            "The trials of a cohort share one order of batches (its key is the data's seed), so that the features are "
            "read once a step for all of them."
        )
    facts = (
        ("data", f"{run.data.name} ({run.data.source})"),
        ("fingerprint of features, labels and classes", run.data.fingerprint),
        ("examples", ", ".join(f"{count:,} {name}" for name, count in run.data.examples.items())),
        ("preprocessing", run.data.preprocessing),
        *((name, str(value)) for name, value in run.versions.items()),
    )
    seconds = tuple((name, float(value)) for name, value in run.seconds.items() if name != "total")
    return RepeatRecord(
        command="" if why or source is None else _command(run, folder, source),
        python=_python(run, folder, source, texts),
        space=texts.get("space.toml", ""),
        recipe=texts.get("recipe.toml", ""),
        elsewhere=_elsewhere(run),
        facts=facts,
        seconds=seconds,
        note=note,
        loading="" if folder is None else loading_code(run, folder, source),
    )


def _why_none(run: Run | Path, source: str | None, texts: Mapping[str, str]) -> str:
    """Say why no command line repeats a run; "" where one does."""
    if not source:
        if run.data.source == "arrays":
            return "The data was given as arrays, which no command line names: take sweep or path in Python."
        return "The run was made in Python, which does not say where its data lies: take sweep or path in Python."
    if run.data.weighted:
        return "The examples were weighted, which no command line can say: take sweep or path in Python."
    if isinstance(run, Path):
        named = {
            "losses": _losses(run), "class weights": _class_weights(run), "features": _features(run),
            "strengths": _strengths(run),
        }  # fmt: skip
        missing = [name for name, words in named.items() if words is None]
        return f"No command line names these {missing[0]}: take path in Python." if missing else ""
    if _file(run) in texts and (_name(run) == "sweep" or run.settings["seeds"] == 1):
        return ""
    if run.best is None and _name(run) == "fit":
        return "Nothing won, so there is no recipe.toml to repeat it from: run.json holds the recipe, as its space."
    if _name(run) == "fit":
        return "One recipe was trained with several seeds: give --seeds and the recipe with the first of them."
    return "A part of the recipe is Python code, which no recipe file holds: take sweep or fit in Python."


def _command(run: Run | Path, folder: str | None, source: str) -> str:
    # A name that begins with a dash would be an option.
    words = ["thalweg", _name(run), shlex.quote(f"./{source}" if source.startswith("-") else source)]
    settings = {**run.settings}
    if "preprocessing" in settings and settings["preprocessing"] is None:
        settings["preprocessing"] = "none"
    if isinstance(run, Path):
        words += [*(_losses(run) or ()), *(_class_weights(run) or ()), *(_features(run) or ())]
        words += [*(_strengths(run) or ()), *_given(settings, _PATH), *_tolerance(run)]
    else:
        # The space as it was drawn from: the default one may be another in another version.
        words += ["--recipe", shlex.quote(_file(run) if folder is None else f"{folder}/{_file(run)}")]
        words += _given(settings, _SWEEP if _name(run) == "sweep" else {k: _SWEEP[k] for k in _SWEEP if k not in _MANY})
        if settings.get("halving"):
            halving = settings["halving"]
            words += ["--halving", repr(float(halving["factor"])), "--rungs", str(halving["rungs"])]
        if settings["refit"] != (_name(run) == "sweep"):
            words += ["--refit" if settings["refit"] else "--no-refit"]
    words += _given(settings, _READING)
    line = " ".join([*words, *(["--skip-bad"] if settings.get("skip_bad") else [])])
    if folder is None and not isinstance(run, Path):
        return f"# save the recipe that is shown here as {_file(run)} first\n{line}"
    return line


_MANY = ("trials", "seeds", "search", "points", "selection")  # what only a sweep takes


def _name(run: Run | Path) -> str:
    return "path" if isinstance(run, Path) else "sweep" if dimensions(run.space) else "fit"


def _file(run: Run) -> str:
    return "space.toml" if dimensions(run.space) else "recipe.toml"


def _given(settings: Mapping[str, Any], options: Mapping[str, tuple[str, Any]]) -> list[str]:
    """Name every setting that is not the usual one."""
    words = []
    for name, (option, usual) in options.items():
        value = settings.get(name)
        if value is not None and value != usual:
            words += [option, shlex.quote(str(value))]
    return words


# The words of what a path was asked for, each None where the command line has none for it.


def _losses(path: Path) -> list[str] | None:
    named = {("softmax",): [], ("hinge",): ["--loss", "hinge"], ("softmax", "hinge"): ["--loss", "both"]}
    return named.get(tuple(path.settings["losses"]))


def _class_weights(path: Path) -> list[str] | None:
    weights = path.settings["class_weights"]
    named: list[tuple[list[Any], list[str]]] = [
        ([None], []), (["balanced"], ["--class-weight", "balanced"]), ([None, "balanced"], ["--class-weight", "both"])
    ]  # fmt: skip
    return next((words for known, words in named if weights == known), None)


def _features(path: Path) -> list[str] | None:
    encoded = path.settings.get("features")
    if not encoded:
        return []
    names = ",".join(str(part["kind"]) for part in encoded.get("parts", [encoded]))
    try:
        same = finite(encode(as_features(names))) == finite(encoded)
    except UsageError:  # a part of one's own
        same = False
    return ["--features", names] if same else None


def _strengths(path: Path) -> list[str] | None:
    """Name the strengths by their ends if that gives each of them to the last digit, else by the count of a default."""
    losses, penalty = path.settings["losses"], path.settings["penalty"]
    if len(losses) == 1 or not path.solutions:
        each = {losses[0]: np.asarray(path.settings["strengths"], float)}
    else:  # the settings hold those of all losses together
        first = path.solutions[0].class_weight
        solved = [one for one in path.solutions if one.class_weight == first]
        kinds = [kind for kind in losses if any(one.loss.kind == kind for one in solved)]
        each = {kind: np.asarray([one.strength for one in solved if one.loss.kind == kind]) for kind in kinds}
    some = next(iter(each.values()))
    low, high, count = float(some[-1]), float(some[0]), len(some)
    if all(len(one) == count and np.allclose(one, some, rtol=1e-12, atol=0) for one in each.values()):
        if count == 1:
            return ["--strengths", repr(low)]
        ends = ["--strengths", f"{low!r}:{high!r}:{count}"]
        between = np.geomspace(low, high, count)[::-1]
        if np.array_equal(between, some):
            return ends
    else:
        ends, between = [], np.empty(0)
    if all(
        len(one) == count and np.array_equal(one, grid(count, float(one[0]), penalty, hinge=kind == "hinge"))
        for kind, one in each.items()
    ):
        return ["--strengths", str(count)] if count != _COUNT else []
    return ends if len(between) == count and np.allclose(between, some, rtol=1e-12, atol=0) else None


def _tolerance(path: Path) -> list[str]:
    """Name the tolerance if it is not the default; of two losses the settings tell the larger one alone."""
    usual = 1e-3 if "hinge" in path.settings["losses"] else 1e-6 if path.settings["penalty"] == "l2" else 1e-4
    return [] if path.tolerance == usual else ["--tolerance", repr(float(path.tolerance))]


def _python(run: Run | Path, folder: str | None, source: str | None, texts: Mapping[str, str]) -> str:
    """Return the call in Python that repeats the run."""
    if isinstance(run, Path):
        words = _strengths(run)
        count = _COUNT if words == [] else int(words[1]) if words and words[1].isdigit() else None
        return path_code(
            run, None if count == _COUNT else count or run.settings["strengths"], bool(_tolerance(run)), source
        )
    file = _file(run)
    # Where nothing won there is no recipe of a winner, and the folder's run.json holds none that load_recipe takes.
    saved = None if file not in texts else "" if folder is None else f"{folder}/{file}"
    return sweep_code(run, _name(run), file, saved, source)


def _elsewhere(run: Run | Path) -> tuple[tuple[str, str], ...]:
    if run.model is None:
        return ()
    is_path = isinstance(run, Path)
    record: Mapping[str, Any] = finite(path_record(run) if is_path else run_record(run))  # type: ignore[arg-type]
    out = []
    for kind in ("sklearn",) if is_path else tuple(FRAMEWORKS):
        try:
            out.append((kind, code_of_run(record, run.model, kind)))
        except UsageError as error:
            out.append((kind, f"# {error}"))
    return tuple(out)
