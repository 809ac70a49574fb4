"""The models as PyTorch modules, with their first weights."""

from __future__ import annotations

import itertools
import math

from thalweg.elsewhere.script import block
from thalweg.elsewhere.setting import Setting, number
from thalweg.models import Convolutional, Dense, Linear

__all__ = ["model_functions"]

_ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "GELU", "silu": "SiLU"}


def model_functions(setting: Setting) -> list[str]:
    """Return the source of ``make_model()``, and of the classes that it needs."""
    model = setting.recipe.model
    if isinstance(model, Linear):
        return [_linear(model, math.prod(setting.shape), len(setting.classes))]
    if isinstance(model, Dense):
        return [_dense(model, math.prod(setting.shape), len(setting.classes))]
    assert isinstance(model, Convolutional)
    return _convolutional(model, setting.shape[2], len(setting.classes))


def _linear(model: Linear, features: int, classes: int) -> str:
    bias = "" if model.bias else ", bias=False"
    return block(
        '''
        def make_model():
            """«told»"""
            layer = nn.Linear(«features», «classes»«bias»)
            nn.init.normal_(layer.weight, std=«scale»)
            «zeros»
            return nn.Sequential(nn.Flatten(), layer)
        ''',
        told="Scores W x + b: a row of W is one class's template." if model.bias else "Scores W x, without a bias.",
        features=str(features),
        classes=str(classes),
        bias=bias,
        scale=number(model.scale),
        zeros="nn.init.zeros_(layer.bias)" if model.bias else "",
    )


def _dense(model: Dense, features: int, classes: int) -> str:
    widths = (features, *model.hidden, classes)
    layers = ["nn.Flatten(),"]
    for before, after in itertools.pairwise(widths[:-1]):
        parts = [f"nn.Linear({before}, {after}{', bias=False' if model.batch_norm else ''})"]
        if model.batch_norm:
            parts.append(f"nn.BatchNorm1d({after}, eps={number(model.epsilon)}, momentum={number(model.momentum)})")
        parts.append(f"nn.{_ACTIVATIONS[model.activation]}()")
        if model.dropout is not None:
            parts.append(f"nn.Dropout({number(model.dropout)})")
        layers.append(", ".join(parts) + ",")
    layers.append(f"nn.Linear({widths[-2]}, {classes}),")
    return block(
        '''
        def make_model():
            """A fully connected network, its first weights «told»."""
            model = nn.Sequential(
                «layers»
            )
            layers = [layer for layer in model if isinstance(layer, nn.Linear)]
            for layer in layers:
                scale = «output» if layer is layers[-1] else «scale»
                nn.init.normal_(layer.weight, std=scale * math.sqrt(2 / «fan»))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            return model
        ''',
        told="as He et al. 2015" if model.initialisation == "he" else "as Glorot & Bengio 2010",
        layers="\n".join(layers),
        output=number(model.output_scale),
        scale=number(model.scale),
        fan="layer.in_features" if model.initialisation == "he" else "(layer.in_features + layer.out_features)",
    )


def _convolutional(model: Convolutional, channels: int, classes: int) -> list[str]:
    norm = f"nn.BatchNorm2d(channels, eps={number(model.epsilon)}, momentum={number(model.momentum)})"
    convolution = block(
        '''
        def convolution(before, channels, side):
            """A convolution that keeps the image's size«told»."""
            layer = nn.Conv2d(before, channels, side, padding=side // 2«bias»)
            nn.init.normal_(layer.weight, std=«scale» * math.sqrt(2 / (side * side * before)))
            «rest»
        ''',
        told=", and its normalisation" if model.batch_norm else "",
        bias=", bias=False" if model.batch_norm else "",
        scale=number(model.scale),
        rest=f"return nn.Sequential(layer, {norm})" if model.batch_norm else "nn.init.zeros_(layer.bias)\nreturn layer",
    )
    survives = model.stochastic_depth is not None
    residual = block(
        '''
        class Block(nn.Module):
            """max(0, x + f(x)), f two convolutions«told»."""

            def __init__(self, channels, survival):
                super().__init__()
                self.first, self.second = convolution(channels, channels, 3), convolution(channels, channels, 3)
                self.survival = survival

            def forward(self, x):
                change = self.second(torch.relu(self.first(x)))
                «depth»
                return torch.relu(x + change)
        ''',
        told=", which is left out of a training step with probability 1 - survival" if survives else "",
        depth="change = change * (float(torch.rand(()) < self.survival) if self.training else self.survival)"
        if survives
        else "",
    )
    if not survives:
        residual = residual.replace("channels, survival)", "channels)").replace(
            "        self.survival = survival\n", ""
        )
    return [convolution, residual, block(_IMAGES), _network(model, channels, classes)]


_IMAGES = '''
    class ChannelsFirst(nn.Module):
        """From images (B, height, width, channels) to (B, channels, height, width)."""

        def forward(self, x):
            return x.permute(0, 3, 1, 2)
'''


def _network(model: Convolutional, channels: int, classes: int) -> str:
    pool = "nn.MaxPool2d(2)" if model.pooling == "max" else "nn.AvgPool2d(2)"
    lines = [f"convolution({channels}, {model.width}, 3), nn.ReLU(),"]
    width, block_number, total = model.width, 0, sum(model.blocks)
    for stage, count in enumerate(model.blocks):
        if stage:
            lines.append(f"{pool}, convolution({width}, {2 * width}, 1), nn.ReLU(),")
            width *= 2
        for _ in range(count):
            block_number += 1
            survival = ""
            if model.stochastic_depth is not None:
                survival = f", 1 - {block_number} / {total} * (1 - {number(model.stochastic_depth)})"
            lines.append(f"Block({width}{survival}),")
    lines.append("nn.AdaptiveAvgPool2d(1), nn.Flatten(),")
    if model.dropout is not None:
        lines.append(f"nn.Dropout({number(model.dropout)}),")
    return block(
        '''
        def make_model():
            """A residual network (He et al. 2016)."""
            output = nn.Linear(«width», «classes»)
            nn.init.normal_(output.weight, std=«scale» * math.sqrt(2 / «width»))
            nn.init.zeros_(output.bias)
            return nn.Sequential(
                ChannelsFirst(),
                «lines»
                output,
            )
        ''',
        width=str(width),
        classes=str(classes),
        scale=number(model.output_scale),
        lines="\n".join(lines),
    )
