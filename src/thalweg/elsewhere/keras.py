"""A recipe as a script for Keras 3, whatever its backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.elsewhere.keras_models import model_functions
from thalweg.elsewhere.script import augment_function, block, constants, layout, main_lines, shared_functions
from thalweg.elsewhere.setting import Setting, number
from thalweg.elsewhere.updates import update_functions
from thalweg.losses import Hinge
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.schedules import Constant

__all__ = ["keras_script"]

_TITLE = """A classifier by Keras 3: the recipe of a thalweg run.

The batches come in the same order as there; first weights, and what else is random, are Keras' own draws.
"""


def keras_script(setting: Setting) -> str:
    """Return the script."""
    imports = "import math\nimport sys\n\nimport keras\nimport numpy as np\nfrom keras import layers, ops"
    functions = [
        *shared_functions(setting),
        augment_function(setting.recipe.augmentation),
        *model_functions(setting),
        _loss(setting),
        _RATE,
        *_optimizer(setting),
        _train(setting),
        _PREDICT,
    ]
    return layout(_TITLE, imports, constants(setting), functions, main_lines())


def _loss(setting: Setting) -> str:
    loss = setting.recipe.loss
    if isinstance(loss, Hinge):
        return block(
            '''
            def data_loss(labels, scores):
                """Multiclass hinge (Weston & Watkins): the sum of max(0, s_j - s_y + 1) over the wrong classes j."""
                own = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), len(CLASSES))
                true = ops.sum(own * scores, axis=1, keepdims=True)
                return ops.sum(ops.relu(scores - true + 1), axis=1) - 1  # the class itself adds 1
            '''
        )
    targets = 'ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), len(CLASSES))'
    smoothing = f", label_smoothing={number(loss.smoothing)}" if loss.smoothing is not None else ""
    return block(
        '''
        def data_loss(labels, scores):
            """The cross-entropy of the softmax of each example."""
            targets = «targets»
            return keras.losses.categorical_crossentropy(targets, scores, from_logits=True«smoothing»)
        ''',
        targets=targets,
        smoothing=smoothing,
    )


_RATE = block(
    '''
    class Rate(keras.optimizers.schedules.LearningRateSchedule):
        """`rate`, as Keras wants it."""

        def __init__(self):
            self.rates = np.array([rate(step) for step in range(STEPS)], "float32")

        def __call__(self, step):
            return ops.take(self.rates, ops.cast(step, "int32"))

        def get_config(self):
            return {}
    '''
)


def _optimizer(setting: Setting) -> list[str]:
    call = keras_class(setting)
    clip = setting.recipe.clip
    clipped = "" if clip is None else f", global_clipnorm={number(clip)}"
    if call is None:
        make = f"def make_optimizer(model):\n    return Rule(Rate(){clipped})"
        return [*update_functions(setting, "ops"), _RULE, make]
    if setting.decays is None or setting.recipe.optimizer.rules.decays_biases:
        return [f"def make_optimizer(model):\n    return keras.optimizers.{call}{clipped})"]
    spared = block(
        '''
        def make_optimizer(model):
            """Weight decay spares biases and normalisation."""
            optimizer = keras.optimizers.«call»
            optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if len(v.shape) <= 1])
            return optimizer
        ''',
        call=f"{call}{clipped})",
    )
    return [spared]


_RULE = block(
    '''
    class Rule(keras.optimizers.Optimizer):
        """The update above for every variable: keras.optimizers has no class that gives these numbers."""

        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.buffers = {}
            for variable in variables:
                first = start(ops.convert_to_tensor(variable))
                made = {name: self.add_variable_from_reference(variable, name) for name in first}
                for name, value in first.items():
                    made[name].assign(value)
                self.buffers[variable.path] = made

        def update_step(self, gradient, variable, learning_rate):
            buffers = self.buffers[variable.path]
            s = {name: ops.convert_to_tensor(buffer) for name, buffer in buffers.items()}
            rate, t = (ops.cast(n, variable.dtype) for n in (learning_rate, self.iterations + 1))
            weight = len(variable.shape) > 1
            x, s = update(ops.convert_to_tensor(variable), gradient, s, rate, t, weight)
            variable.assign(x)
            for name, buffer in buffers.items():
                buffer.assign(s[name])
    '''
)


def keras_class(setting: Setting) -> str | None:
    """Return the call (left open) of the class in keras.optimizers that gives the same numbers, or None."""
    optimizer = setting.recipe.optimizer
    if setting.proximal or (setting.decays is not None and optimizer.rules.decay != "decoupled"):
        return None
    arguments = _CLASSES[type(optimizer)](setting)
    if arguments is None:
        return None
    name = {"AdaGrad": "Adagrad", "RMSProp": "RMSprop"}.get(optimizer.name, optimizer.name)
    if setting.decays is not None:
        decay = number(setting.decays)
        if getattr(optimizer, "decay_scaling", "rate") == "multiplier":
            # The class multiplies by the rate: divided by its base, what is left is the schedule's multiplier.
            decay += f" / {number(optimizer.learning_rate.base)}"
        arguments.append(f"weight_decay={decay}")
    elif isinstance(optimizer, AdamW):
        arguments.append("weight_decay=0.0")
    return f"{name}({', '.join(['Rate()', *arguments])}"


def _sgd(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.momentum is None:
        return []
    steady = type(optimizer.learning_rate) is Constant  # then the place of the rate makes no difference
    if optimizer.dampening is not None or (optimizer.form == "outside" and not steady):
        return None
    if optimizer.nesterov and float(optimizer.momentum) == 0:
        return None
    return [f"momentum={number(optimizer.momentum)}", *["nesterov=True"] * bool(optimizer.nesterov)]


def _adagrad(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.rules.epsilon != "inside":
        return None
    first = f"initial_accumulator_value={number(optimizer.initial_accumulator)}"
    return [first, f"epsilon={number(optimizer.epsilon)}"]


def _rmsprop(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.rules.epsilon != "inside" or (optimizer.momentum is not None and optimizer.rules.rate != "inside"):
        return None
    momentum = [] if optimizer.momentum is None else [f"momentum={number(optimizer.momentum)}"]
    numbers = [f"rho={number(optimizer.decay)}", f"epsilon={number(optimizer.epsilon)}"]
    return [*numbers, *momentum, *["centered=True"] * bool(optimizer.centered)]


def _adam(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.rules.epsilon != "uncorrected" or not optimizer.bias_correction:
        return None
    betas = [f"beta_1={number(optimizer.beta1)}", f"beta_2={number(optimizer.beta2)}"]
    return [*betas, f"epsilon={number(optimizer.epsilon)}"]


def _lion(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if float(optimizer.beta1) == 0:
        return None  # Keras refuses it
    return [f"beta_1={number(optimizer.beta1)}", f"beta_2={number(optimizer.beta2)}"]


_CLASSES: dict[Any, Callable[[Setting], list[str] | None]] = {
    SGD: _sgd,
    AdaGrad: _adagrad,
    RMSProp: _rmsprop,
    Adam: _adam,
    AdamW: _adam,
    Lion: _lion,
}


def _train(setting: Setting) -> str:
    recipe = setting.recipe
    augments = bool(augment_function(recipe.augmentation))
    begin = each = end = ""
    if recipe.averaging is not None:
        decay = number(recipe.averaging.decay)
        begin = "average = [np.zeros(w.shape, np.float32) for w in model.weights]"
        moved = f"m + (1 - {decay}) * (ops.convert_to_numpy(w.value) - m)"
        each = f"average = [{moved} for m, w in zip(average, model.weights)]"
        end = f"for m, w in zip(average, model.weights):\n    w.assign(m / (1 - {decay} ** (step + 1)))"
    return block(
        '''
        def train(x, y, model=None):
            """Train on features x (EXAMPLES, *SHAPE) and labels y; return the model and what prepares its input."""
            if x.shape != (EXAMPLES, *SHAPE):
                raise ValueError(f"x is {x.shape}; this recipe was made for {(EXAMPLES, *SHAPE)}: set both above")
            keras.utils.set_random_seed(SEED)
            «generator»
            prepare = fit_preprocessing(x)
            model = model or make_model()
            model.compile(make_optimizer(model), data_loss)
            «begin»
            for step, rows in enumerate(batches()):
                features = «features»
                «count»
                model.train_on_batch(features, y[rows]«weights»)
                «each»
            «end»
            return model, prepare
        ''',
        generator="generator = np.random.default_rng(SEED)" if augments else "",
        features="augment(prepare(x[rows]), generator)" if augments else "prepare(x[rows])",
        count=_COUNT if setting.fills else "",
        weights=", sample_weight=weights" if setting.fills else "",
        begin=begin,
        each=each,
        end=end,
    )


_COUNT = """count = min(BATCH, EXAMPLES - step % PER_EPOCH * BATCH)
weights = (np.arange(BATCH) < count) * (BATCH / count)  # what fills a batch up counts in normalisation alone"""

_PREDICT = block(
    '''
    def predict(model, features):
        """Return the labels of prepared features."""
        return model.predict(features, verbose=0).argmax(axis=1)
    '''
)
