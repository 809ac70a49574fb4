"""ONNX: one graph from raw features to scores, probabilities and class names.

The graph uses operators of the default domain in opset 17 only (2022), which runtimes
on servers, phones and in browsers know; GELU, of a later opset, is written out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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
from thalweg.artifacts.exports.onnx_features import add_features
from thalweg.artifacts.exports.onnx_graph import Graph
from thalweg.artifacts.exports.record import Export, about, check_file, write_file
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel

__all__ = ["OPSET", "build", "write"]

OPSET = 17
_IR_VERSION = 8  # the file format of opset 17's time
_LARGEST = 2**31 - 2**20  # bytes: what one protobuf message holds, less room for the rest
_INPUT = "features"


def write(model: FittedModel, path: Path, *, overwrite: bool) -> Export:
    """Write the file; see `exports.export`."""
    check_file(path, overwrite=overwrite)
    content = build(model).SerializeToString(deterministic=True)
    write_file(path, content, overwrite=overwrite)
    left_out = ["the check for NaN features: a graph raises no errors, so their scores are NaN"]
    if not has_probabilities(model):
        left_out.append(f"probabilities: the model was trained with {type(model.recipe.loss).__name__}")
    if model.recipe.features is not None and model.feature_dtype != "uint8":
        left_out.append("the check that images lie in [0, 1]")
    return Export("onnx", path, {path.name: len(content)}, model.classes, tuple(left_out))


def build(model: FittedModel) -> Any:
    """Return the `onnx.ModelProto`, checked.

    Input ``features`` (N, *feature_shape), uint8 or float32. Outputs ``scores`` (N, classes);
    ``probabilities`` (N, classes), their softmax, for the softmax loss; ``label`` (N,),
    text: the class of the highest score, the first of equals. N is free.
    """
    graph = Graph()
    layers = network(model)
    _check(model, layers)
    x = add_features(graph, model, _INPUT)
    shift, scale = (graph.constant(getattr(model.preprocessing, name)) for name in ("shift", "scale"))
    x = graph.add("Mul", graph.add("Sub", x, shift), scale)
    if isinstance(layers[0], Convolution):
        x = graph.add("Transpose", x, perm=[0, 3, 1, 2])  # ONNX puts channels first
    scores = graph.add("Identity", _add_all(graph, layers, x), output="scores")
    if has_probabilities(model):
        graph.add("Softmax", scores, axis=-1, output="probabilities")
    names = graph.constant([name.encode() for name in model.classes], object)
    graph.add("Gather", names, graph.add("ArgMax", scores, axis=1, keepdims=0), output="label")
    return _proto(graph, model)


def _proto(graph: Graph, model: FittedModel) -> Any:
    onnx = graph.onnx
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    dtype = kinds.UINT8 if model.feature_dtype == "uint8" else kinds.FLOAT
    outputs = [value("scores", kinds.FLOAT, ["N", len(model.classes)])]
    if has_probabilities(model):
        outputs.append(value("probabilities", kinds.FLOAT, ["N", len(model.classes)]))
    outputs.append(value("label", kinds.STRING, ["N"]))
    inputs = [value(_INPUT, dtype, ["N", *model.feature_shape])]
    description = about(model)
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "thalweg", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="thalweg",
        producer_version=description["thalweg_version"],
    )
    helper.set_model_props(proto, description)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _check(model: FittedModel, layers: list[Layer]) -> None:
    """Raise a UsageError for what a graph cannot hold."""
    size = 4 * sum(array.size for layer in layers for array in vars(layer).values() if isinstance(array, np.ndarray))
    if size > _LARGEST:
        raise UsageError(
            f"the model's weights are {size / 1e9:.1f} GB, and a file of ONNX holds 2 GB: export it to torch instead"
        )
    for name in model.classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the class name {name!r} is no Unicode text (it may be a file name of another encoding), and ONNX "
                "holds no other: rename the class and train again, or export to torch"
            ) from None


def _add_all(graph: Graph, layers: list[Layer] | tuple[Layer, ...], x: str) -> str:
    for layer in layers:
        x = _add(graph, layer, x)
    return x


def _add(graph: Graph, layer: Layer, x: str) -> str:
    """Add a layer behind x; images are (N, channels, height, width)."""
    match layer:
        case Flatten():
            return graph.add("Flatten", x, axis=1)
        case Affine(weight, bias):
            return graph.add("Gemm", x, *_weights(graph, weight, bias), transB=1)
        case Convolution(weight, bias):
            margin = [weight.shape[0] // 2] * 4
            return graph.add("Conv", x, *_weights(graph, weight.transpose(3, 2, 0, 1), bias), pads=margin)
        case Normalisation():
            numbers = (layer.scale, layer.offset, layer.mean, layer.variance)
            return graph.add("BatchNormalization", x, *map(graph.constant, numbers), epsilon=layer.epsilon)
        case Activation(name):
            return _activation(graph, name, x)
        case Dropout():
            return x
        case Pooling(kind):
            operator = {"max": "MaxPool", "average": "AveragePool"}[kind]
            return graph.add(operator, x, kernel_shape=[2, 2], strides=[2, 2])
        case FractionalPooling(rows, columns):
            return _largest(graph, _largest(graph, x, rows, axis=2), columns, axis=3)
        case Residual(layers, survival):
            change = _add_all(graph, layers, x)
            if survival is not None:
                change = graph.add("Mul", change, graph.constant(survival))
            return graph.add("Relu", graph.add("Add", x, change))
        case SpatialMean():
            return graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)


def _weights(graph: Graph, weight: np.ndarray, bias: np.ndarray | None) -> list[str]:
    return [graph.constant(weight)] + ([] if bias is None else [graph.constant(bias)])


def _activation(graph: Graph, name: str, x: str) -> str:
    if name == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    if name == "gelu":  # x/2 (1 + erf(x/√2))
        error = graph.add("Erf", graph.add("Mul", x, graph.constant(math.sqrt(0.5))))
        half = graph.add("Mul", x, graph.constant(0.5))
        return graph.add("Mul", half, graph.add("Add", error, graph.constant(1)))
    return graph.add({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[name], x)


def _largest(graph: Graph, x: str, places: np.ndarray, axis: int) -> str:
    """The maximum over the pixels of each region along an axis."""
    return graph.add("Max", *(graph.add("Gather", x, graph.constant(one, np.int64), axis=axis) for one in places))
