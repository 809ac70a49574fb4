"""`thalweg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from thalweg.artifacts import export as write_export
from thalweg.artifacts import load_model
from thalweg.artifacts.exports import FORMATS
from thalweg.cli.output import print_json, shown
from thalweg.errors import UsageError

__all__ = ["export"]


def export(
    model: Path,
    *,
    to: Literal["onnx", "sklearn", "torch"],
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a model for another library: ONNX, scikit-learn or PyTorch.

    All three take raw features, as predict does: preprocessing is inside. Nothing is pickled.

    Parameters
    ----------
    model
        A run folder or a model file (model.safetensors).
    to
        "onnx": one graph with scores, probabilities and class names. "sklearn": a fitted pipeline as a .skops file.
        "torch": a folder with a readable module, model.py, and its weights.
    out
        The file, for torch the folder (default: beside the model file, such as model.onnx, model.skops, model_torch).
    overwrite
        Replace what is there.
    json
        Print one JSON object and nothing else on stdout.
    """
    source = model / "model.safetensors" if model.is_dir() else model
    fitted = load_model(model)
    place = source.with_name(source.stem + FORMATS[to]) if out is None else out
    if place.exists() and place.samefile(source):
        raise UsageError(f"{place} is the model itself; give another place with --out")
    written = write_export(fitted, place, to=to, overwrite=overwrite)
    if json:
        print_json(written.summary())
        return 0
    for name, size in written.files.items():
        path = written.path if written.path.name == name else written.path / name
        print(f"{shown(path)}: {size:,} bytes")
    if written.classes != fitted.classes:
        print("the classes stand in sorted order, as scikit-learn keeps them")
    for what in written.left_out:
        print(f"left out: {shown(what)}")
    return 0
