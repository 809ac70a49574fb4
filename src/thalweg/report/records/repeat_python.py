"""Python that repeats a run: the call with every setting that is not the usual one, and how to load what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.paths.records import Path
from thalweg.recipe_files import kinds
from thalweg.run import Run

__all__ = ["loading_code", "path_code", "sweep_code"]

# Keyword arguments, with the values that need no naming; a path's and a sweep's preprocessing may be None.
_SWEEP = {
    "trials": 32, "seed": 0, "seeds": 1, "search": "sobol", "points": None, "patience": None, "tolerance": None,
    "selection": "best", "preprocessing": "auto", "validation": None, "test": None, "memory": None,
}  # fmt: skip
_PATH = {
    "penalty": "l2", "beta": None, "folds": 5, "selection": "best", "iterations": 5000, "preprocessing": "auto",
    "test": None, "seed": 0,
}  # fmt: skip
_IMPORT = "import thalweg as tw"


def loading_code(run: Run | Path, folder: str, source: str | None) -> str:
    """Return the lines that load a saved run and its model, and diagnose it on its data."""
    data, notes = _data(run, source)
    lines = [_IMPORT, "", f"run = tw.load_run({folder!r})  # run.best, run.test"]
    if run.model is not None:
        lines.append(f"model = tw.load_model({folder!r})  # model.predict(features)")
    return "\n".join([*lines, *notes, f"print(tw.diagnostics.diagnose(run, {data}))"])


def sweep_code(run: Run, name: str, file: str, saved: str | None, source: str | None) -> str:
    """Return the call of `sweep` or `fit` (``name``) that repeats a run.

    Args:
        file: the name of the recipe's file: space.toml or recipe.toml.
        saved: the place of it, "" where it is on the page alone, None where no file holds the recipe.
    """
    settings, what = run.settings, "space" if name == "sweep" else "recipe"
    data, notes = _data(run, source)
    lines = [_IMPORT, ""]
    if saved is None:
        lines.append(f"# {what}: the recipe as it was given in Python; no file of this run holds it")
    else:
        if not saved:
            lines.append(f"# save the recipe that is shown here as {file} first")
        lines.append(f"{what} = tw.load_recipe({saved or file!r})")
    if name == "fit" and saved is not None and run.best is not None and run.best.recipe.seed != run.space.seed:
        lines[0] = f"import dataclasses\n\n{_IMPORT}"
        lines.append(
            f"recipe = dataclasses.replace(recipe, seed={run.space.seed!r})  # the first seed, not the winner's"
        )
    usual = _SWEEP if name == "sweep" else {key: value for key, value in _SWEEP.items() if key != "trials"}
    asked = _given(settings, usual)
    if settings.get("halving"):
        asked.append(f"halving=tw.Halving({', '.join(f'{k}={v!r}' for k, v in settings['halving'].items())})")
    if settings["refit"] != (name == "sweep"):
        asked.append(f"refit={settings['refit']!r}")
    return "\n".join([*lines, *notes, f"run = tw.{name}({', '.join([what, data, *asked])})"])


def path_code(path: Path, strengths: int | list[float] | None, tolerance: bool, source: str | None) -> str:
    """Return the call of `path` that repeats a path.

    Args:
        strengths: their count, where that gives them to the last digit, else all of them; None: the usual count.
        tolerance: whether it was another than the usual one.
    """
    settings = path.settings
    data, notes = _data(path, source)
    asked = []
    if settings["losses"] != ["softmax"]:
        losses = [f"tw.losses.{kinds('loss')[kind].__name__}()" for kind in settings["losses"]]
        asked.append(f"loss={losses[0] if len(losses) == 1 else _listed(losses)}")
    asked += _given(settings, _PATH)
    if strengths is not None:
        asked.append(f"strengths={strengths!r}")
    if isinstance(strengths, list) and any(one != strengths for one in _strengths(path)):
        notes = [*notes, "# strengths: of all losses together; each loss had some of these"]
    if settings["class_weights"] != [None]:
        weights = settings["class_weights"]
        asked.append(f"class_weight={(weights[0] if len(weights) == 1 else weights)!r}")
    if path.data.weighted:
        asked.append("example_weights=weights")
        notes = [*notes, "# weights: those of the training examples, as they were given"]
    if tolerance:
        asked.append(f"tolerance={float(path.tolerance)!r}")
    if settings.get("features"):
        code = _part(settings["features"])
        asked.append(f"features={code or 'features'}")
        notes = notes if code else [*notes, "# features: the part of your own that the path was given"]
    return "\n".join([_IMPORT, "", *notes, f"run = tw.path({', '.join([data, *asked])})"])


def _strengths(path: Path) -> list[list[float]]:
    """Return the strengths that each loss was solved for."""
    first = path.solutions[0].class_weight if path.solutions else ""
    solved = [one for one in path.solutions if one.class_weight == first]
    return [[s.strength for s in solved if s.loss.kind == kind] for kind in sorted({s.loss.kind for s in solved})]


def _given(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Name every setting that is not the usual one."""
    return [
        f"{name}={settings[name]!r}" for name, value in usual.items() if name in settings and settings[name] != value
    ]


def _data(run: Run | Path, source: str | None) -> tuple[str, list[str]]:
    """Return the data as an expression, and comments on what the reader must bring."""
    if run.data.weighted and not isinstance(run, Path):
        return "data", ["# data: the run's Dataset, whose training split has the examples' weights"]
    if not source and run.data.source != "arrays":
        return "data", [f"# data: what the run was given, here {ascii(run.data.source)[1:-1]}"]
    if not source:
        return "(X, y)", ["# X, y: the arrays of the run; a Dataset in their place where they came in splits"]
    options = [f"label={run.settings['label']!r}"] if run.settings.get("label") is not None else []
    if size := run.settings.get("image_size"):
        # As the command line writes it: one number, or HEIGHTxWIDTH.
        parts = [int(part) for part in str(size).lower().split("x")]
        options.append(f"image_size={(parts[0], parts[-1])!r}")
    if run.settings.get("skip_bad"):
        options.append("skip_bad=True")
    return (f"tw.load({', '.join([repr(source), *options])})" if options else repr(source)), []


def _listed(words: list[str]) -> str:
    return f"[{', '.join(words)}]"


def _part(encoded: Mapping[str, Any]) -> str:
    """Return the call that makes a part of `thalweg.features` as it is encoded; "" for a part of one's own."""
    found = kinds("features").get(str(encoded["kind"]))
    if found is None:
        return ""
    words = []
    for name, value in encoded.items():
        if name == "parts":
            parts = [_part(one) for one in value]
            if not all(parts):
                return ""
            words.append(f"parts=({', '.join(parts)},)")
        elif name != "kind":
            words.append(f"{name}={value!r}")
    return f"tw.features.{found.__name__}({', '.join(words)})"
