"""PyTorch: a folder of readable code and its weights.

``model.py`` is an `nn.Module` that needs torch and safetensors and nothing of Thalweg;
``weights.safetensors`` is its state_dict. Both are written without torch.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from thalweg.artifacts.exports.network import (
    Activation,
    Affine,
    Convolution,
    Dropout,
    Flatten,
    FractionalPooling,
    Layer,
    Normalisation,
    Pooling,
    Residual,
    SpatialMean,
    has_probabilities,
    network,
)
from thalweg.artifacts.exports.record import Export, about
from thalweg.artifacts.exports.torch_code import source
from thalweg.atomic import new_folder
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel

__all__ = ["CODE", "WEIGHTS", "write"]

CODE, WEIGHTS = "model.py", "weights.safetensors"
Tensors: TypeAlias = dict[str, np.ndarray]
_ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "GELU", "silu": "SiLU"}


@dataclass(frozen=True, eq=False)
class _Module:
    """The expression that builds a module, and the tensors of its state_dict."""

    code: str
    tensors: Tensors = field(default_factory=dict)


def write(model: FittedModel, path: Path, *, overwrite: bool) -> Export:
    """Write the folder; see `exports.export`."""
    from safetensors.numpy import save

    if model.recipe.features is not None:
        raise UsageError(
            f"the model sees {model.recipe.features.name} in the pixels' place, which the PyTorch export does not "
            "write: export it to onnx"
        )
    layers = network(model)
    code, tensors = _contents(model, layers)
    contents = {CODE: code.encode(), WEIGHTS: save(tensors, {"format": "pt", **about(model)})}
    _check_folder(path)
    with new_folder(path, overwrite=overwrite, mark=WEIGHTS) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    return Export("torch", path, {name: len(c) for name, c in contents.items()}, model.classes, _left_out(layers))


def _check_folder(path: Path) -> None:
    """Raise a UsageError where replacing the folder would take anything but an earlier export along."""
    if path.is_dir() and (others := {one.name for one in path.iterdir()} - {CODE, WEIGHTS, "__pycache__"}):
        raise UsageError(
            f"the folder {path} holds {min(others)!r}, which is no part of an export, so it is not overwritten; give "
            "another with --out"
        )


def _left_out(layers: list[Layer]) -> tuple[str, ...]:
    found = ["the check for NaN features: their scores are NaN"]
    if any(isinstance(layer, FractionalPooling) for layer in layers):
        found.append("the random cuts of fractional pooling in training: they stay those of evaluation")
    return tuple(found)


def _contents(model: FittedModel, layers: list[Layer]) -> tuple[str, Tensors]:
    """Return the code and the state_dict."""
    modules = [module for layer in layers for module in _modules(layer)]
    if isinstance(layers[0], Convolution):  # PyTorch puts channels first
        modules = [_Module("ChannelsFirst()"), *modules]
    body = _sequence(modules, "network")
    parts = {module.code.partition("(")[0] for module in modules}
    code = source(model, body.code, parts, weights=WEIGHTS, probabilities=has_probabilities(model))
    tensors = {"shift": model.preprocessing.shift, "scale": model.preprocessing.scale, **body.tensors}
    return code, {name: np.asarray(array, order="C") for name, array in tensors.items()}


def _sequence(modules: list[_Module], name: str) -> _Module:
    """The arguments of a Sequential of that name, one a line."""
    tensors = {f"{name}.{place}.{one}": a for place, m in enumerate(modules) for one, a in m.tensors.items()}
    return _Module("\n".join(f"{module.code}," for module in modules), tensors)


def _modules(layer: Layer) -> list[_Module]:
    match layer:
        case Flatten():
            return [_Module("nn.Flatten()")]
        case Affine(weight, bias):
            return [_weighted(f"nn.Linear({weight.shape[1]}, {weight.shape[0]}", weight, bias)]
        case Convolution(weight, bias):
            side, _, before, after = weight.shape
            code = f"nn.Conv2d({before}, {after}, {side}, padding={side // 2}"
            return [_weighted(code, weight.transpose(3, 2, 0, 1), bias)]
        case Normalisation():
            return [_normalisation(layer)]
        case Activation(name):
            return [_Module(f"nn.{_ACTIVATIONS[name]}()")]
        case Dropout(rate):
            return [_Module(f"nn.Dropout({rate!r})")]
        case Pooling(kind):
            return [_Module({"max": "nn.MaxPool2d(2)", "average": "nn.AvgPool2d(2)"}[kind])]
        case FractionalPooling(rows, columns):
            code = f"FractionalMaxPool(rows={rows.shape[1]}, columns={columns.shape[1]}, pixels={len(rows)})"
            return [_Module(code, {"rows": rows, "columns": columns})]
        case Residual(layers, survival):
            inner = _sequence([module for one in layers for module in _modules(one)], "layers")
            lines = inner.code if survival is None else f"{inner.code}\nsurvival={survival!r},"
            return [_Module(f"Residual(\n{textwrap.indent(lines, '    ')}\n)", inner.tensors)]
        case SpatialMean():
            return [_Module("nn.AdaptiveAvgPool2d(1)"), _Module("nn.Flatten()")]


def _weighted(code: str, weight: np.ndarray, bias: np.ndarray | None) -> _Module:
    """Close a call that leaves the bias open."""
    if bias is None:
        return _Module(f"{code}, bias=False)", {"weight": weight})
    return _Module(f"{code})", {"weight": weight, "bias": bias})


def _normalisation(layer: Normalisation) -> _Module:
    kind = "BatchNorm2d" if layer.images else "BatchNorm1d"
    code = f"nn.{kind}({len(layer.scale)}, eps={layer.epsilon!r}, momentum={layer.momentum!r})"
    tensors = {
        "weight": layer.scale,
        "bias": layer.offset,
        "running_mean": layer.mean,
        "running_var": layer.variance,
        "num_batches_tracked": np.asarray(0, np.int64),  # PyTorch counts, and with a momentum never looks
    }
    return _Module(code, tensors)
