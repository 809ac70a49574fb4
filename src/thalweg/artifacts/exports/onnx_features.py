"""Image features as ONNX nodes: the formulas of `features`, step by step.

Values are (N, height, width, ...) as there. Each function follows the part's own
``encode``, whose docstring has the mathematics; comments say where ONNX needs another way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from thalweg.artifacts.exports.onnx_graph import Graph
from thalweg.errors import UsageError
from thalweg.features import HOG, ColorHistogram, Patches
from thalweg.features.base import Chain, Features, Shape
from thalweg.features.bins import windows
from thalweg.features.patches import _FADE
from thalweg.fitted import FittedModel

__all__ = ["add_features"]


def add_features(graph: Graph, model: FittedModel, x: str) -> str:
    """Add what turns raw examples into what preprocessing meets: a cast, and the recipe's features."""
    x = graph.add("Cast", x, to=graph.onnx.TensorProto.FLOAT)
    part = model.recipe.features
    if part is None:
        return x
    if model.feature_dtype == "uint8":
        # XLA makes x/255 this product: the same last digit decides between channels of equal gradients.
        x = graph.add("Mul", x, graph.constant(np.float32(1 / 255)))
    return _part(graph, part, x, model.feature_shape, model.feature_state)


def _part(graph: Graph, part: Features, x: str, shape: Shape, state: Mapping[str, np.ndarray]) -> str:
    """Add one part's columns (N, D)."""
    if type(part) is ColorHistogram:
        return _colour(graph, part, x, shape)
    if type(part) is HOG:
        return _hog(graph, part, x, shape)
    if type(part) is Patches:
        return _patches(graph, part, x, shape, state)
    if type(part) is Chain:
        columns = []
        for place, one in enumerate(part.parts):
            own = {name.removeprefix(f"{place}."): a for name, a in state.items() if name.startswith(f"{place}.")}
            columns.append(_part(graph, one, x, shape, own))
        return graph.add("Concat", *columns, axis=1)
    raise UsageError(
        f"the model sees {part.name} in the pixels' place: Python code, which no export can read; train on "
        f"the features that {part.name}.transform gives, without features in the recipe, and export that model"
    )


def _colour(graph: Graph, part: ColorHistogram, x: str, shape: Shape) -> str:
    hues, saturations, values = part.bins
    zero, one = graph.constant(0), graph.constant(1)
    hue, saturation, value = _hsv(graph, graph.add("Clip", x, zero, one))
    of_hue = _circular(graph, graph.add("Mul", hue, graph.constant(hues)), hues)
    shares = [
        graph.add("Mul", of_hue, saturation),
        _linear(graph, saturation, saturations),
        _linear(graph, value, values),
    ]
    rows, columns = (windows(length, part.grid, soft=True) for length in shape[:2])
    rows, columns = (w / w.sum(axis=1, keepdims=True) for w in (rows, columns))
    cells = _cells(graph, graph.add("Concat", *shares, axis=3), rows, columns)
    return graph.reshape(graph.add("Sqrt", cells) if part.root else cells, 0, -1)


def _hsv(graph: Graph, x: str) -> tuple[str, str, str]:
    """Hue in [0, 1], saturation and value of (N, height, width, 3), each (N, height, width, 1)."""
    zero, one = graph.constant(0), graph.constant(1)
    red, green, blue = (graph.slice(x, 3, i, i + 1) for i in range(3))
    value = graph.add("Max", red, green, blue)
    chroma = graph.add("Sub", value, graph.add("Min", red, green, blue))
    unit = graph.add("Where", graph.add("Greater", chroma, zero), chroma, one)

    def sextant(first: str, second: str, offset: int) -> str:
        share = graph.add("Div", graph.add("Sub", first, second), unit)
        return graph.add("Add", share, graph.constant(offset))

    cold = graph.add("Where", graph.add("Equal", value, green), sextant(blue, red, 2), sextant(red, green, 4))
    warm = _wrapped(graph, sextant(green, blue, 0), 6)
    hue = graph.add("Div", graph.add("Where", graph.add("Equal", value, red), warm, cold), graph.constant(6))
    bright = graph.add("Where", graph.add("Greater", value, zero), value, one)
    return hue, graph.add("Div", chroma, bright), value


def _hog(graph: Graph, part: HOG, x: str, shape: Shape) -> str:
    down, right = _strongest(graph, x, shape)
    length = graph.add("Sqrt", _squared(graph, down, right))
    shares = graph.add("Mul", length, _orientation(graph, part, down, right))
    cells = tuple(side // part.cell for side in shape[:2])
    rows, columns = (windows(side, count, part.soft) for side, count in zip(shape[:2], cells, strict=True))
    histograms = graph.add("Div", _cells(graph, shares, rows, columns), graph.constant(part.cell**2))
    height, width = (count - part.block + 1 for count in cells)
    corners = [
        graph.slice(graph.slice(histograms, 1, y, y + height), 2, x, x + width)
        for y in range(part.block)
        for x in range(part.block)
    ]
    blocks = _unit(graph, graph.add("Concat", *corners, axis=3), part.epsilon)
    return graph.reshape(_unit(graph, graph.add("Min", blocks, graph.constant(part.clip)), part.epsilon), 0, -1)


def _strongest(graph: Graph, x: str, shape: Shape) -> tuple[str, str]:
    """The gradient (down, right) of the channel in which it is longest, each (N, height, width, 1)."""
    height, width, channels = shape
    pads = graph.constant([0, 1, 1, 0] * 2, np.int64)
    padded = graph.add("Pad", x, pads, mode="edge")
    middle = graph.slice(padded, 2, 1, width + 1), graph.slice(padded, 1, 1, height + 1)
    two = graph.constant(2)
    both = [
        graph.add("Div", graph.add("Sub", graph.slice(m, axis, 2, n + 2), graph.slice(m, axis, 0, n)), two)
        for m, axis, n in zip(middle, (1, 2), (height, width), strict=True)
    ]
    down, right = (graph.slice(one, 3, 0, 1) for one in both)
    for channel in range(1, channels):
        other = [graph.slice(one, 3, channel, channel + 1) for one in both]
        longer = graph.add("Greater", _squared(graph, *other), _squared(graph, down, right))
        down, right = (graph.add("Where", longer, *pair) for pair in zip(other, (down, right), strict=True))
    return down, right


def _orientation(graph: Graph, part: HOG, down: str, right: str) -> str:
    """Each pixel's share in each orientation (N, height, width, orientations)."""
    turn, count = 2 * math.pi if part.signed else math.pi, part.orientations
    angle = _wrapped(graph, _angle(graph, down, right), turn)
    position = graph.add("Mul", angle, graph.constant(count / turn))
    if part.soft:
        shifted = graph.add("Sub", position, graph.constant(0.5))
        return _circular(graph, _wrapped(graph, shifted, count), count)
    nearest = graph.add("Min", graph.add("Floor", position), graph.constant(count - 1))
    same = graph.add("Equal", nearest, graph.constant(np.arange(count)))
    return graph.add("Cast", same, to=graph.onnx.TensorProto.FLOAT)


def _angle(graph: Graph, down: str, right: str) -> str:
    """atan2(down, right) in (−π, π], which ONNX has no operator for; 0 for no gradient at all."""
    zero, pi = graph.constant(0), graph.constant(math.pi)
    # A quotient of 0 by 0 is NaN: the vertical takes no quotient, and its sign (0 for no gradient) decides.
    upright = graph.add("Equal", right, zero)
    slope = graph.add("Div", down, graph.add("Where", upright, graph.constant(1), right))
    flat = graph.add("Atan", slope)
    behind = graph.add("Where", graph.add("Less", down, zero), graph.constant(-math.pi), pi)
    turned = graph.add("Where", graph.add("Less", right, zero), graph.add("Add", flat, behind), flat)
    vertical = graph.add("Mul", graph.add("Sign", down), graph.constant(math.pi / 2))
    return graph.add("Where", upright, vertical, turned)


def _patches(graph: Graph, part: Patches, x: str, shape: Shape, state: Mapping[str, np.ndarray]) -> str:
    features = _pooled(graph, part, x, shape, state)
    if part.mirror:
        # Slice walks an axis backwards from its end to before its start.
        mirrored = graph.slice(x, 2, -1, -shape[1] - 1, -1)
        other = _pooled(graph, part, mirrored, shape, state)
        features = graph.add("Div", graph.add("Add", features, other), graph.constant(2))
    return features


def _pooled(graph: Graph, part: Patches, x: str, shape: Shape, state: Mapping[str, np.ndarray]) -> str:
    numbers = part.patch**2 * shape[2]
    # A convolution with one-hot kernels lays each patch out along the channels, in the order of `Patches`.
    picks = np.eye(numbers).reshape(numbers, part.patch, part.patch, shape[2]).transpose(0, 3, 1, 2)
    first = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    patches = graph.add("Conv", first, graph.constant(picks), strides=[part.stride] * 2)
    patches = graph.add("Transpose", graph.reshape(patches, 0, numbers, -1), perm=[0, 2, 1])  # (N, patches, numbers)

    centred = graph.add("Sub", patches, graph.add("ReduceMean", patches, axes=[2]))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), axes=[2])
    spread = graph.add("Sqrt", graph.add("Add", variance, graph.constant(_FADE)))
    q = graph.add("Sub", graph.add("Div", centred, spread), graph.constant(state["mean"]))
    z = graph.add("MatMul", q, graph.constant(state["whitening"]))

    # ‖z − c‖² = ‖z‖² − 2 z·c + ‖c‖²
    centroids = state["centroids"].astype(np.float64)
    norms = _sum(graph, graph.add("Mul", z, z), axis=2)
    products = graph.add("MatMul", z, graph.constant(-2 * centroids.T))
    squares = graph.add("Add", graph.add("Add", products, norms), graph.constant((centroids**2).sum(axis=1)))
    distances = graph.add("Sqrt", graph.add("Max", squares, graph.constant(0)))
    mean = graph.add("ReduceMean", distances, axes=[2])
    near = graph.add("Relu", graph.add("Sub", mean, distances))  # (N, patches, centroids)
    members = np.asarray(part._region(shape))[None] == np.arange(part.pooling**2)[:, None]  # (regions, patches)
    return graph.reshape(graph.add("MatMul", graph.constant(members), near), 0, -1)


def _circular(graph: Graph, position: str, bins: int) -> str:
    """`bins.circular` of (..., 1): weights (..., bins)."""
    away = graph.add("Abs", graph.add("Sub", position, graph.constant(np.arange(bins))))
    nearer = graph.add("Min", away, graph.add("Sub", graph.constant(bins), away))
    return graph.add("Relu", graph.add("Sub", graph.constant(1), nearer))


def _linear(graph: Graph, value: str, bins: int) -> str:
    """`bins.linear` of (..., 1): weights (..., bins)."""
    place = graph.add("Sub", graph.add("Mul", value, graph.constant(bins)), graph.constant(0.5))
    place = graph.add("Clip", place, graph.constant(0), graph.constant(bins - 1))
    away = graph.add("Abs", graph.add("Sub", place, graph.constant(np.arange(bins))))
    return graph.add("Relu", graph.add("Sub", graph.constant(1), away))


def _cells(graph: Graph, shares: str, rows: np.ndarray, columns: np.ndarray) -> str:
    """Σ_hw rows[y, h] columns[x, w] shares[n, h, w, k]: (N, y, x, k)."""
    along = graph.add("Einsum", shares, graph.constant(rows), equation="nhwk,yh->nywk")
    return graph.add("Einsum", along, graph.constant(columns), equation="nywk,xw->nyxk")


def _wrapped(graph: Graph, x: str, turn: float) -> str:
    """x in [−turn, turn] taken into [0, turn): ONNX's Mod has the sign of x."""
    whole, below = graph.constant(turn), graph.add("Less", x, graph.constant(0))
    within = graph.add("Where", graph.add("Equal", x, whole), graph.constant(0), x)
    return graph.add("Where", below, graph.add("Add", x, whole), within)


def _squared(graph: Graph, first: str, second: str) -> str:
    return graph.add("Add", graph.add("Mul", first, first), graph.add("Mul", second, second))


def _sum(graph: Graph, x: str, axis: int) -> str:
    return graph.add("ReduceSum", x, graph.constant([axis], np.int64))


def _unit(graph: Graph, blocks: str, epsilon: float) -> str:
    """v / √(‖v‖² + ε²) along the last axis."""
    norm = graph.add("Add", _sum(graph, graph.add("Mul", blocks, blocks), axis=3), graph.constant(epsilon**2))
    return graph.add("Div", blocks, graph.add("Sqrt", norm))
