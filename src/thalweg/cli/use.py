"""`thalweg predict`, `thalweg score` and `thalweg info`."""

from __future__ import annotations

import csv
import io
import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from thalweg.artifacts import load_model
from thalweg.atomic import write_bytes
from thalweg.cli.options import Reading
from thalweg.cli.output import print_json, shown
from thalweg.cli.progress import ProgressLine
from thalweg.data import Dataset, Split, describe, match_channels, match_classes, match_features, summarize
from thalweg.elsewhere import code_of_run
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.recipe_files import decode, encode, to_toml
from thalweg.views import template_sheet

Which = Literal["auto", "train", "validation", "test"]


def predict(
    model: Path,
    data: str,
    *,
    split: Which = "auto",
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Predict the class of every example: a table of name and class on stdout.

    Parameters
    ----------
    model
        A run folder or a model file (model.safetensors).
    data
        Data of the kind that the model was trained on; labels are not needed.
    split
        Which part of the data; "auto" takes test where there is one, else all of it.
    out
        Write the table to this CSV file instead.
    json
        Print one JSON object and nothing else on stdout.
    """
    if json and out is not None:
        raise UsageError(f"--json prints to stdout, --out writes a table to {out}: give one of them")
    fitted = load_model(model)
    dataset = _matched((reading or Reading()).load(data, labelled=False), fitted)
    part, name = _part(dataset, split)
    names = part.names or tuple(str(i) for i in range(len(part.features)))
    predicted = fitted.predict(part.features)
    if json:
        print_json({"split": name, "names": list(names), "classes": predicted.tolist()})
        return 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "class"])
    writer.writerows(zip(names, predicted.tolist(), strict=True))
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_bytes(out, text.getvalue().encode())
        print(f"{len(predicted)} predictions written to {shown(out)}", file=sys.stderr)
    return 0


def score(
    model: Path,
    data: str,
    *,
    split: Which = "auto",
    challenges: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Score a model on labelled data; classes are matched by name.

    Parameters
    ----------
    model
        A run folder or a model file (model.safetensors).
    data
        Labelled data of the kind that the model was trained on.
    split
        Which part of the data; "auto" takes test where there is one, else all of it.
    challenges
        Score changed images too (light, shift, rotation, stretching, occlusion, clutter) and within-class spread.
    json
        Print one JSON object and nothing else on stdout.
    """
    fitted = load_model(model)
    dataset = _matched((reading or Reading()).load(data), fitted)
    part, name = _part(match_classes(dataset, fitted.classes), split)
    seen = name != "test" and dataset.fingerprint() == fitted.trained_on
    if seen:
        print(
            "thalweg: the model was trained on examples of this very data set, which flatters it: "
            "for an estimate on new data take the run's own test accuracy",
            file=sys.stderr,
        )
    result = fitted.score(part)
    low, high = result.interval
    table = _challenges(fitted, part) if challenges else None
    if json:
        content = {
            "split": name,
            "accuracy": result.accuracy,
            "interval": [low, high],
            "correct": result.correct,
            "count": result.count,
            "loss": result.loss,
            "trained_on_this_data": seen,
        }
        print_json(content if table is None else content | {"challenges": table.as_dict()})
    else:
        print(
            f"accuracy {result.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} "
            f"({result.correct} of {result.count} right, {name} split; mean loss {result.loss:.4f})"
        )
        if table is not None:
            print(f"\n{table}")
    return 0


def _challenges(model: FittedModel, part: Split) -> Any:
    """The table of the challenges that the examples allow; stderr names those that need images."""
    from thalweg.diagnostics.challenge_list import KINDS
    from thalweg.diagnostics.challenges import applicable, challenges

    kinds = applicable(part)
    if out := [kind for kind in KINDS if kind not in kinds]:
        print(f"thalweg: the examples are no images, so these are left out: {', '.join(out)}", file=sys.stderr)
    line = ProgressLine()
    try:
        return challenges(model, part, kinds=kinds, tell=line.report)
    finally:
        line.clear()


def info(
    path: str,
    *,
    templates: Path | None = None,
    code: Literal["torch", "optax", "keras", "sklearn"] | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Say what is in a data set, a run folder or a model file.

    Parameters
    ----------
    path
        A data set (whatever sweep takes), a run folder or a model.safetensors.
    templates
        Write each class's weights as an image to this PNG file (a run or model for images).
    code
        Print a run's recipe as code for PyTorch, Optax or Keras (a path's optimum: scikit-learn), and nothing else.
    json
        Print one JSON object and nothing else on stdout.
    """
    place = Path(path)
    if code is not None and (json or templates is not None):
        raise UsageError("--code prints code and nothing else: leave --json and --templates out")
    if code is not None:
        sys.stdout.write(_run_code(place, code))
        return 0
    if templates is not None:
        write_bytes(templates, template_sheet(load_model(place)))
    if place.suffix == ".safetensors":
        content, text = _model_info(place)
    elif (place / "run.json").is_file():
        content, text = _run_info(place)
    else:
        dataset = (reading or Reading()).load(path, labelled=False)
        content = describe(dataset)
        text = "\n".join(shown(line) for line in summarize(dataset).splitlines())
    print_json(content) if json else print(text)
    return 0


def _matched(dataset: Dataset, model: FittedModel) -> Dataset:
    return match_channels(match_features(dataset, model.feature_names), model.feature_shape)


def _part(dataset: Dataset, which: Which) -> tuple[Split, str]:
    """Choose a split. Data without a test split is taken whole: it is new to the model, or the user says otherwise."""
    parts = dict(dataset.splits())
    name: str = which
    if which == "auto":
        name = "test" if "test" in parts else "train"
    if name not in parts:
        raise UsageError(f"split is {which!r}, and the data has {', '.join(parts)} only")
    return parts[name], "whole" if which == "auto" and name == "train" else name


def _model_info(path: Path) -> tuple[dict[str, Any], str]:
    model = load_model(path)
    content = {
        "kind": "model",
        "classes": list(model.classes),
        "feature_shape": list(model.feature_shape),
        "preprocessing": model.preprocessing.kind,
        "recipe": encode(model.recipe),
    }
    lines = [
        f"a model for {len(model.classes)} classes: {', '.join(shown(name) for name in model.classes)}",
        f"features of shape {model.feature_shape}, preprocessing {model.preprocessing.kind}",
        "trained with",
        to_toml(model.recipe, brief=True),
    ]
    return content, "\n".join(lines).rstrip()


def _run_code(folder: Path, to: str) -> str:
    """Write the code anew, from the record and the model."""
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} is no run folder, and --code needs one: it says how many examples were trained on")
    model = load_model(folder)
    try:
        return code_of_run(jsonlib.loads((folder / "run.json").read_text(encoding="utf-8")), model, to)
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / 'run.json'} is damaged ({type(error).__name__}: {error}); run it again") from error


def _run_info(folder: Path) -> tuple[dict[str, Any], str]:
    try:
        content = jsonlib.loads((folder / "run.json").read_text(encoding="utf-8"))
        lines = _path_lines(content) if content.get("kind") == "path" else _sweep_lines(content)
        best = content["best"]
        if best is not None and best["test_accuracy"] is not None:
            low, high = best["test_interval"]
            lines.append(f"test accuracy {best['test_accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f}")
        lines.extend(f"note: {note}" for note in (*content.get("caveats", ()), *content["edges"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / 'run.json'} is damaged ({type(error).__name__}: {error}); run it again") from error
    return content, "\n".join(shown(line) for line in lines)


def _sweep_lines(content: dict[str, Any]) -> list[str]:
    best, data = content["best"], content["data"]
    lines = [
        f"a run of {content['trials']} trials on {data['name']} ({data['source']})",
        "trials: " + ", ".join(f"{count} {name}" for name, count in content["statuses"].items()),
    ]
    if best is not None:
        lines.append(f"selected: trial {best['trial']}, validation accuracy {best['validation_accuracy']:.4f}")
        lines.extend(_recipe_lines(best["recipe"]))
    return lines


def _recipe_lines(encoded: dict[str, Any]) -> list[str]:
    """Return a recipe as TOML, or as it stands in the run where a part of it was Python code."""
    try:
        return to_toml(decode(encoded), brief=True).rstrip().splitlines()
    except UsageError:
        return [jsonlib.dumps(encoded)]


def _path_lines(content: dict[str, Any]) -> list[str]:
    best, data, strengths = content["best"], content["data"], content["settings"]["strengths"]
    lines = [
        f"a path of {content['solutions']} optima on {data['name']} ({data['source']}), "
        f"strengths {max(strengths):.3g} down to {min(strengths):.3g}",
        "solutions: " + ", ".join(f"{count} {name}" for name, count in content["statuses"].items()),
    ]
    if best is None:
        why = "interrupted" if content["interrupted"] else "without folds"
        return [*lines, f"{why}: nothing was chosen"]
    accuracy, error, rule = best["validation_accuracy"], best["standard_error"], content["choice"]["rule"]
    chosen = f"chosen ({rule}): {best['loss']} with {best['penalty']}, strength {best['strength']:.4g}"
    if best["class_weight"] != "none":
        chosen += f", class weight {best['class_weight']}"
    return [*lines, f"{chosen}; accuracy over {content['settings']['folds']} folds {accuracy:.4f} ± {error:.4f}"]
