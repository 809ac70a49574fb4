"""What it takes to repeat a run: commands, recipes, versions, the data's fingerprint; and its code for elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thalweg.artifacts.path_folder import path_record
from thalweg.artifacts.run_folder import finite, recipe_texts, run_record
from thalweg.elsewhere import FRAMEWORKS
from thalweg.elsewhere.runs import code_of_run
from thalweg.errors import UsageError
from thalweg.paths.records import Path
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
    "tolerance": ("--tolerance", None), "iterations": ("--iterations", 5000),
}  # fmt: skip
_READING = {"label": ("--label", None), "image_size": ("--image-size", None)}


@dataclass(frozen=True)
class RepeatRecord:
    """How to repeat a run.

    ``command`` is a command line ("" where the data was arrays, which no command can name), ``python`` the same in
    Python; ``space`` and ``recipe`` are recipe files ("" where a part was Python code); ``elsewhere`` holds (framework,
    code) pairs; ``facts`` what the numbers depend on; ``seconds`` where the time went.
    """

    command: str
    python: str
    space: str
    recipe: str
    elsewhere: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
    note: str = ""


def repeat_record(run: Run | Path, folder: str | None = None) -> RepeatRecord:
    """Read it from a run or a path; ``folder`` is where it is saved."""
    is_path = isinstance(run, Path)
    source = run.settings.get("data", run.data.address)
    texts = {} if isinstance(run, Path) else recipe_texts(run)
    note = "" if source else "The data was given as arrays, which no command line names: take sweep or path in Python."
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
        command=_command(run, folder, source) if source else "",
        python=_python(run, folder, source),
        space=texts.get("space.toml", ""),
        recipe=texts.get("recipe.toml", ""),
        elsewhere=_elsewhere(run),
        facts=facts,
        seconds=seconds,
        note=note,
    )


def _command(run: Run | Path, folder: str | None, source: str) -> str:
    settings = run.settings
    words = ["thalweg", _name(run), shlex.quote(source)]
    if isinstance(run, Path):
        words += _path_words(run) + _given(settings, _PATH)
    else:
        # The space as it was drawn from: the default one may be another in another version.
        words += ["--recipe", shlex.quote(f"{folder or '.'}/{'space' if dimensions(run.space) else 'recipe'}.toml")]
        words += _given(settings, _SWEEP if _name(run) == "sweep" else {k: _SWEEP[k] for k in _SWEEP if k not in _MANY})
        if settings.get("halving"):
            words += ["--halving", f"{settings['halving']['factor']:g}", "--rungs", str(settings["halving"]["rungs"])]
        if settings["refit"] != (_name(run) == "sweep"):
            words += ["--refit" if settings["refit"] else "--no-refit"]
    words += _given(settings, _READING)
    return " ".join([*words, *(["--skip-bad"] if settings.get("skip_bad") else [])])


_MANY = ("trials", "seeds", "search", "points", "selection")  # what only a sweep takes


def _name(run: Run | Path) -> str:
    return "path" if isinstance(run, Path) else "sweep" if dimensions(run.space) else "fit"


def _given(settings: Mapping[str, Any], options: Mapping[str, tuple[str, Any]]) -> list[str]:
    """Name every setting that is not the usual one."""
    words = []
    for name, (option, usual) in options.items():
        value = settings.get(name)
        if value is not None and value != usual:
            words += [option, shlex.quote(str(value))]
    return words


def _path_words(path: Path) -> list[str]:
    settings, strengths = path.settings, path.settings["strengths"]
    low, high, count = min(strengths), max(strengths), len(strengths)
    words = ["--strengths", repr(low) if count == 1 else f"{low!r}:{high!r}:{count}"]
    if len(settings["losses"]) > 1:
        words += ["--loss", "both"]
    elif settings["losses"] != ["softmax"]:
        words += ["--loss", settings["losses"][0]]
    weights = settings["class_weights"]
    if "balanced" in weights:
        words += ["--class-weight", "balanced" if len(weights) == 1 else "both"]
    if settings.get("features"):
        encoded = settings["features"]
        parts = encoded.get("parts", [encoded]) if isinstance(encoded, Mapping) else encoded
        words += ["--features", ",".join(str(part["kind"]) for part in parts)]
    return words


def _python(run: Run | Path, folder: str | None, source: str | None) -> str:
    data = "(X, y)" if source is None else repr(source)
    if folder is not None:
        return "\n".join((
            "import thalweg as tw", "",
            f"run = tw.load_run({folder!r})  # run.best, run.trials, run.test",
            f"model = tw.load_model({folder!r})  # model.predict(features)",
            f"print(tw.diagnostics.diagnose(run, {data}))",
        ))  # fmt: skip
    asked = ", ".join(f"{name}={run.settings[name]!r}" for name in ("trials", "seed", "seeds") if name in run.settings)
    what = f"tw.path({data})" if isinstance(run, Path) else f"tw.sweep(space, {data}, {asked})"
    return f"import thalweg as tw\n\nrun = {what}"


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
