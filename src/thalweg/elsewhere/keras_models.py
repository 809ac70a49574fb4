"""The models as Keras models, with their first weights."""

from __future__ import annotations

import itertools
import math

from thalweg.elsewhere.script import block
from thalweg.elsewhere.setting import Setting, number
from thalweg.models import Convolutional, Dense, Linear
from thalweg.penalties import L2

__all__ = ["model_functions"]


def model_functions(setting: Setting) -> list[str]:
    """Return the source of ``make_model()``, and of the layers that it needs."""
    model = setting.recipe.model
    norm = [_batch_norm(model)] if setting.normalises else []
    if isinstance(model, Linear):
        return [_linear(model, setting)]
    if isinstance(model, Dense):
        return [*norm, _dense(model, setting)]
    assert isinstance(model, Convolutional)
    depth = [_DEPTH] if model.stochastic_depth is not None else []
    return [*norm, *depth, _convolutional(model, setting)]


def _regularizer(setting: Setting) -> str:
    """Keras' L2 is strength × Σ W² too, without ½, and biases are not its concern."""
    penalty = setting.recipe.penalty
    if not isinstance(penalty, L2):
        return ""
    return f", kernel_regularizer=keras.regularizers.L2({number(penalty.strength)})"


def _normal(scale: str, variance: str = "") -> str:
    deviation = scale if not variance else f"{scale} * math.sqrt({variance})"
    return f"kernel_initializer=keras.initializers.RandomNormal(stddev={deviation})"


def _options(*, bias: bool, normal: str, setting: Setting) -> str:
    """A dense layer's further arguments, one a line."""
    penalty = _regularizer(setting).removeprefix(", ")
    return ",\n".join(["use_bias=False"] * (not bias) + [normal] + [penalty] * bool(penalty))


def _linear(model: Linear, setting: Setting) -> str:
    return block(
        '''
        def make_model():
            """«told»"""
            return keras.Sequential([
                keras.Input(SHAPE),
                layers.Flatten(),
                layers.Dense(
                    «classes»,
                    «options»,
                ),
            ])
        ''',
        told="Scores W x + b: a row of W is one class's template." if model.bias else "Scores W x, without a bias.",
        classes=str(len(setting.classes)),
        options=_options(bias=model.bias, normal=_normal(number(model.scale)), setting=setting),
    )


def _dense(model: Dense, setting: Setting) -> str:
    widths = (math.prod(setting.shape), *model.hidden, len(setting.classes))

    def affine(before: int, after: int, scale: object, *, bias: bool = True) -> str:
        fan = f"2 / {before}" if model.initialisation == "he" else f"2 / ({before} + {after})"
        options = _options(bias=bias, normal=_normal(number(scale), fan), setting=setting).replace("\n", "\n    ")
        return f"layers.Dense(\n    {after},\n    {options},\n),"

    lines = []
    for before, after in itertools.pairwise(widths[:-1]):
        lines.append(affine(before, after, model.scale, bias=not model.batch_norm))
        rest = ["BatchNorm()"] * bool(model.batch_norm) + [f'layers.Activation("{model.activation}")']
        if model.dropout is not None:
            rest.append(f"layers.Dropout({number(model.dropout)})")
        lines.append(", ".join(rest) + ",")
    lines.append(affine(widths[-2], widths[-1], model.output_scale))
    return block(
        '''
        def make_model():
            """A fully connected network, its first weights as «source»."""
            return keras.Sequential([
                keras.Input(SHAPE),
                layers.Flatten(),
                «lines»
            ])
        ''',
        source="He et al. 2015" if model.initialisation == "he" else "Glorot & Bengio 2010",
        lines="\n".join(lines),
    )


def _batch_norm(model: Dense | Convolutional) -> str:
    return block(
        '''
        class BatchNorm(layers.Layer):
            """Batch normalisation; unlike Keras' own, its running variance is the unbiased one."""

            def build(self, shape):
                self.scale = self.add_weight(shape=shape[-1:], initializer="ones", name="scale")
                self.offset = self.add_weight(shape=shape[-1:], initializer="zeros", name="offset")
                self.mean = self.add_weight(shape=shape[-1:], initializer="zeros", trainable=False, name="mean")
                self.variance = self.add_weight(shape=shape[-1:], initializer="ones", trainable=False, name="variance")

            def call(self, x, training=False):
                mean, variance = self.mean, self.variance
                if training:
                    mean, variance = ops.moments(x, axes=list(range(len(x.shape) - 1)))
                    count = ops.cast(ops.size(x) / ops.shape(x)[-1], x.dtype)
                    self.mean.assign(self.mean + «momentum» * (mean - self.mean))
                    unbiased = variance * count / (count - 1)
                    self.variance.assign(self.variance + «momentum» * (unbiased - self.variance))
                return (x - mean) * (self.scale / ops.sqrt(variance + «epsilon»)) + self.offset
        ''',
        momentum=number(model.momentum),
        epsilon=number(model.epsilon),
    )


_DEPTH = block(
    '''
    class StochasticDepth(layers.Layer):
        """Drop x for a whole batch with probability 1 - survival (Huang et al. 2016)."""

        def __init__(self, survival):
            super().__init__()
            self.survival, self.seed = survival, keras.random.SeedGenerator(SEED)

        def call(self, x, training=False):
            if not training:
                return self.survival * x
            return x * ops.cast(keras.random.uniform((), seed=self.seed) < self.survival, x.dtype)
    '''
)


def _convolutional(model: Convolutional, setting: Setting) -> str:
    depth = ""
    if model.stochastic_depth is not None:
        survival = f"1 - block / {sum(model.blocks)} * (1 - {number(model.stochastic_depth)})"
        depth = f"change = StochasticDepth({survival})(change)"
    width, penalty = model.width * 2 ** (len(model.blocks) - 1), _regularizer(setting)
    bias = ", use_bias=False" if model.batch_norm else ""
    return block(
        '''
        def make_model():
            """A residual network (He et al. 2016)."""

            def convolution(x, channels, side):
                first = keras.initializers.RandomNormal(stddev=«scale» * math.sqrt(2 / (side * side * x.shape[-1])))
                options = {"padding": "same", "kernel_initializer": first«penalty»}
                x = layers.Conv2D(channels, side«bias», **options)(x)
                return «normalised»

            inputs = keras.Input(SHAPE)
            x, width, block = layers.ReLU()(convolution(inputs, «width», 3)), «width», 0
            for stage, count in enumerate(«blocks»):
                if stage > 0:
                    width *= 2
                    x = layers.ReLU()(convolution(layers.«pool»(2)(x), width, 1))
                for block in range(block + 1, block + count + 1):
                    change = convolution(layers.ReLU()(convolution(x, width, 3)), width, 3)
                    «depth»
                    x = layers.ReLU()(layers.add([x, change]))
            x = layers.GlobalAveragePooling2D()(x)
            «dropout»
            first = keras.initializers.RandomNormal(stddev=«output» * math.sqrt(2 / «last»))
            return keras.Model(inputs, layers.Dense(«classes», kernel_initializer=first«regularizer»)(x))
        ''',
        scale=number(model.scale),
        penalty=penalty.replace(", kernel_regularizer=", ', "kernel_regularizer": '),
        bias=bias,
        normalised="BatchNorm()(x)" if model.batch_norm else "x",
        width=str(model.width),
        blocks=repr(model.blocks),
        pool="MaxPooling2D" if model.pooling == "max" else "AveragePooling2D",
        depth=depth,
        dropout=f"x = layers.Dropout({number(model.dropout)})(x)" if model.dropout is not None else "",
        output=number(model.output_scale),
        last=str(width),
        classes=str(len(setting.classes)),
        regularizer=penalty,
    )
