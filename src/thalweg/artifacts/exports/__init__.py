"""Fitted models in other libraries' formats: ONNX, scikit-learn, PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from thalweg.artifacts.exports.record import Export
from thalweg.errors import UsageError, nearest
from thalweg.fitted import FittedModel

__all__ = ["FORMATS", "Export", "export"]

# What each format's name ends in; each has a module here, loaded when it is asked for.
FORMATS = {"onnx": ".onnx", "sklearn": ".skops", "torch": "_torch"}


def export(model: FittedModel, path: str | Path, *, to: str, overwrite: bool = False) -> Export:
    """Write a fitted model for another library, whole or not at all.

    All take the features as `FittedModel.predict` does, raw: preprocessing is inside. Scores
    agree with the model's to the rounding of float32, about 1e-6 of their size. Nothing is pickled.

    Arguments:
        model: a `FittedModel` whose model is Linear, Dense or Convolutional.
        path: a file; for "torch" a folder.
        to: - "onnx": a graph with the outputs ``scores``, ``probabilities`` (softmax loss
              only) and ``label``, for any ONNX runtime; image features are part of it.
            - "sklearn": a fitted `Pipeline` in skops' format; linear models, and Dense ones
              with an activation that scikit-learn has.
            - "torch": a folder of ``model.py``, an `nn.Module` to read and train on, and
              ``weights.safetensors``. Torch need not be installed to write it.
        overwrite: whether what is there may be replaced.

    Returns an `Export`, which says what was written and what the format leaves out.

    Raises a UsageError that names the way out where the format cannot hold the model, an
    extra (``onnx``, ``skops``) is not installed, or the place is taken.
    """
    if to not in FORMATS:
        raise UsageError(f"to is {to!r}; it must be one of {', '.join(FORMATS)}{nearest(str(to), FORMATS)}")
    write: Callable[..., Export] = import_module(f"{__name__}.{to}").write
    return write(model, Path(path), overwrite=overwrite)
