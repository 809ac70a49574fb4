"""The text of the PyTorch export's ``model.py``.

What comes from the data (names of classes and features) enters as Python's own
literals, one a line, and nowhere else; all other parts are numbers and text of ours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection

from thalweg import __version__
from thalweg.fitted import FittedModel

__all__ = ["source"]

_HEAD = '''"""A classifier written by Thalweg {version}: PyTorch code; its weights are in {weights} beside it.

    from model import CLASSES, load

    model = load()  # in evaluation mode
    scores = model(features)  # features: {dtype} (N, {shape}), as they come; scores: (N, {classes})
    names = model.predict(features)

The state_dict's names are those of the modules below. Nothing of Thalweg is needed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
'''

_PARTS = {
    "ChannelsFirst": '''
class ChannelsFirst(nn.Module):
    """Images (N, height, width, channels) to (N, channels, height, width)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)
''',
    "Residual": '''
class Residual(nn.Module):
    """max(0, x + f(x)). In training f is dropped with probability 1 - survival, else weighed by survival."""

    def __init__(self, *layers: nn.Module, survival: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.survival = survival

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = float(torch.rand(()) < self.survival) if self.training else self.survival
        return torch.relu(x + weight * self.layers(x))
''',
    "FractionalMaxPool": '''
class FractionalMaxPool(nn.Module):
    """The maximum over regions of an image; rows[:, i] are the pixels of region i, repeated where there are fewer."""

    def __init__(self, rows: int, columns: int, pixels: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros((pixels, rows), dtype=torch.int64))
        self.register_buffer("columns", torch.zeros((pixels, columns), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, self.rows].amax(dim=2)
        return x[:, :, :, self.columns].amax(dim=3)
''',
}

_MODEL = '''
class Model(nn.Module):
    """Class scores of features as they come; `load` gives one with its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros({shift}))
        self.register_buffer("scale", torch.ones({scale}))
        self.network = nn.Sequential(
{network}
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, classes)."""
        return self.network((features.to(self.scale.dtype) - self.shift) * self.scale)
'''

_PROBABILITIES = '''
    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Return the softmax of the scores (N, classes)."""
        return self(features).softmax(dim=1)
'''

_USE = '''
    @torch.inference_mode()
    def predict(self, features: torch.Tensor) -> list[str]:
        """Return for each example the name of the class with the highest score."""
        return [CLASSES[place] for place in self(features).argmax(dim=1).tolist()]


def load(path: str | Path | None = None) -> Model:
    """Return the model with its weights (by default those beside this file), in evaluation mode."""
    model = Model()
    model.load_state_dict(load_file(path or Path(__file__).with_name("{weights}")))
    return model.eval()
'''


def source(model: FittedModel, network: str, parts: Collection[str], *, weights: str, probabilities: bool) -> str:
    """Return the code. ``network`` are the expressions of its layers, ``parts`` the classes that they name."""
    shape = ", ".join(map(str, model.feature_shape))
    head = _HEAD.format(
        version=__version__, weights=weights, dtype=model.feature_dtype, shape=shape, classes=len(model.classes)
    )
    shift, scale = (getattr(model.preprocessing, name).shape for name in ("shift", "scale"))
    names = _names("CLASSES", model.classes)
    if model.feature_names is not None:
        names += "\n# The columns, in the order that the model takes them.\n" + _names("FEATURES", model.feature_names)
    classes = [text for name, text in _PARTS.items() if name in parts]
    body = _MODEL.format(shift=shift, scale=scale, network=textwrap.indent(network, " " * 12))
    ending = (_PROBABILITIES if probabilities else "") + _USE.format(weights=weights)
    return "\n".join([head, names, *classes, body]) + ending


def _names(variable: str, names: tuple[str, ...]) -> str:
    """A tuple of text as code: `repr` escapes quotes, line breaks, and all that does not print."""
    return "\n".join([f"{variable} = (", *(f"    {name!r}," for name in names), ")"]) + "\n"
