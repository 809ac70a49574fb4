"""A small builder of ONNX graphs: constants and nodes with names of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.errors import UsageError

__all__ = ["Graph", "import_onnx"]


def import_onnx() -> Any:
    """Return the onnx package, or raise a UsageError that says how to get it."""
    try:
        import onnx
    except ImportError as error:
        raise UsageError("writing ONNX needs the onnx package: pip install 'thalweg[onnx]'") from error
    return onnx


class Graph:
    """Nodes and constants as they are added; every method returns the name of the value that it makes."""

    def __init__(self) -> None:
        self.onnx = import_onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant of the given type (scalars included)."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(array, dtype, order="C"), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node of one output, named ``output`` if given."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], name=f"make_{name}", **attributes))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; 0 keeps an axis, −1 takes what is left."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def slice(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Take start, start + step, ... of an axis, before ``stop``."""
        return self.add("Slice", x, *(self.constant([n], np.int64) for n in (start, stop, axis, step)))
