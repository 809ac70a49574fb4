"""A recipe as a script for JAX with Optax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.augmentation import FlipCrop
from thalweg.elsewhere.jax_models import model_functions
from thalweg.elsewhere.script import block, constants, layout, main_lines, shared_functions
from thalweg.elsewhere.setting import Setting, number
from thalweg.elsewhere.updates import update_functions
from thalweg.losses import Hinge
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.penalties import L2

__all__ = ["optax_script"]

_TITLE = """A classifier by JAX and Optax: the recipe of a thalweg run.

It repeats the run: first weights, the order of the batches and all else that is random are the same draws.
"""


def optax_script(setting: Setting) -> str:
    """Return the script."""
    imports = "import math\nimport sys\n\nimport jax\nimport jax.numpy as jnp\nimport numpy as np\nimport optax"
    functions = [
        *shared_functions(setting),
        _augment(setting.recipe.augmentation),
        *model_functions(setting),
        _loss(setting),
        *_optimizer(setting),
        _train(setting),
        _PREDICT,
    ]
    return layout(_TITLE, imports, constants(setting), functions, main_lines())


def _augment(augmentation: FlipCrop | None) -> str:
    if augmentation is None or not (augmentation.flip or augmentation.crop):
        return ""
    flip = ""
    if augmentation.flip:
        flip = "padded = jnp.where(uniform[:, 2].reshape(-1, 1, 1, 1) < 0.5, padded[:, :, ::-1], padded)"
    told = " and ".join(
        ["mirrored with probability 1/2"] * bool(augmentation.flip)
        + [f"shifted by up to {augmentation.crop} pixels, zeros beyond the edge"] * bool(augmentation.crop)
    )
    return block(
        '''
        def augment(x, key):
            """Images (B, height, width, channels), each «told»."""
            crop = «crop»
            uniform = jax.random.uniform(key, (len(x), 3))
            padded = jnp.pad(x, ((0, 0), (crop, crop), (crop, crop), (0, 0)))
            corners = jnp.floor((2 * crop + 1) * uniform[:, :2]).astype(int)
            «flip»
            return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), SHAPE))(padded, corners)
        ''',
        told=told,
        crop=number(augmentation.crop),
        flip=flip,
    )


def _loss(setting: Setting) -> str:
    loss = setting.recipe.loss
    if isinstance(loss, Hinge):
        return block(
            '''
            def data_loss(scores, labels):
                """Multiclass hinge (Weston & Watkins): the sum of max(0, s_j - s_y + 1) over the wrong classes j."""
                own = jnp.take_along_axis(scores, labels[:, None], axis=1)
                return jnp.sum(jax.nn.relu(scores - own + 1), axis=1) - 1  # the class itself adds 1
            '''
        )
    value = "optax.softmax_cross_entropy_with_integer_labels(scores, labels)"
    if loss.smoothing is not None:
        targets = f"optax.smooth_labels(jax.nn.one_hot(labels, len(CLASSES)), {number(loss.smoothing)})"
        value = f"optax.softmax_cross_entropy(scores, {targets})"
    return block(
        '''
        def data_loss(scores, labels):
            """The cross-entropy of the softmax of each example."""
            return «value»
        ''',
        value=value,
    )


def _optimizer(setting: Setting) -> list[str]:
    chain = optax_chain(setting)
    clip = setting.recipe.clip
    first = [] if clip is None else [f"optax.clip_by_global_norm({number(clip)})"]
    masked = block(
        '''
        def is_weight(params):
            """What is penalised and decayed: matrices and kernels, no biases, nothing of normalisation."""
            return jax.tree.map(lambda p: p.ndim > 1, params)
        '''
    )
    before = [masked] if chain is not None and any("is_weight" in link for link in chain) else []
    rule = [] if chain is not None else [*update_functions(setting, "jnp"), _RULE]
    links = [*first, *(["rule(learning_rate)"] if chain is None else chain)]
    made = links[0] if len(links) == 1 else "optax.chain(\n    " + ",\n    ".join(links) + ",\n)"
    make = block(
        """
        def make_optimizer():
            rates = jnp.array([rate(step) for step in range(STEPS)])

            def learning_rate(step):
                return rates[step]

            return «made»
        """,
        made=made,
    )
    return [*before, *rule, make]


_RULE = block(
    '''
    def rule(learning_rate):
        """The update above for every parameter: Optax has no transformation that gives these numbers."""

        def init(params):
            return jnp.zeros((), jnp.int32), [start(x) for x in jax.tree.leaves(params)]

        def step(gradients, state, params):
            t, buffers = state
            leaves, structure = jax.tree.flatten(params)
            done = [
                update(x, g, s, learning_rate(t), t + 1, x.ndim > 1)
                for x, g, s in zip(leaves, jax.tree.leaves(gradients), buffers, strict=True)
            ]
            moved = [new - x for (new, _), x in zip(done, leaves, strict=True)]
            return jax.tree.unflatten(structure, moved), (t + 1, [s for _, s in done])

        return optax.GradientTransformation(init, step)
    '''
)


def optax_chain(setting: Setting) -> list[str] | None:
    """Return the links of an Optax chain that gives the same numbers, or None where none does."""
    optimizer = setting.recipe.optimizer
    rules = optimizer.rules
    if setting.proximal:
        return None
    mask = "" if rules.decays_biases else ", mask=is_weight"
    if type(optimizer) is Lion:
        betas = f"b1={number(optimizer.beta1)}, b2={number(optimizer.beta2)}"
        decay = number(setting.decays) if setting.decays is not None else "0.0"
        return [f"optax.lion(learning_rate, {betas}, weight_decay={decay}{mask if setting.decays is not None else ''})"]
    steps = _CHAINS[type(optimizer)](setting)
    if steps is None or setting.decays is None:
        return steps
    decay = number(setting.decays)
    if rules.decay == "coupled":
        return [f"optax.add_decayed_weights({decay}{mask.replace('mask=', '')})", *steps]
    if type(optimizer) is not AdamW:
        return None
    if optimizer.decay_scaling == "multiplier":
        # The chain multiplies by the rate: divided by its base, what is left is the schedule's multiplier.
        decay += f" / {number(optimizer.learning_rate.base)}"
    arguments = steps[0].removeprefix("optax.adam(").removesuffix(")")
    return [f"optax.adamw({arguments}, weight_decay={decay}{mask})"]


def _sgd(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.momentum is None:
        return ["optax.sgd(learning_rate)"]
    if optimizer.dampening is not None:
        return None
    momentum = number(optimizer.momentum)
    if optimizer.form == "outside":
        nesterov = ", nesterov=True" if optimizer.nesterov else ""
        return [f"optax.sgd(learning_rate, momentum={momentum}{nesterov})"]
    # The rate inside the buffer: Optax's own links, the other way round.
    nesterov = ", nesterov=True" if optimizer.nesterov else ""
    return ["optax.scale_by_learning_rate(learning_rate)", f"optax.trace({momentum}{nesterov})"]


def _adagrad(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.rules.epsilon != "inside":
        return None
    first = f"initial_accumulator_value={number(optimizer.initial_accumulator)}"
    return [f"optax.adagrad(learning_rate, {first}, eps={number(optimizer.epsilon)})"]


def _rmsprop(setting: Setting) -> list[str]:
    optimizer = setting.recipe.optimizer
    inside = optimizer.rules.epsilon == "inside"
    numbers = f"decay={number(optimizer.decay)}, eps={number(optimizer.epsilon)}, eps_in_sqrt={inside}"
    if optimizer.momentum is None or optimizer.rules.rate == "inside":
        momentum = "" if optimizer.momentum is None else f", momentum={number(optimizer.momentum)}"
        centered = ", centered=True" if optimizer.centered else ""
        return [f"optax.rmsprop(learning_rate, {numbers}{centered}{momentum})"]
    scale = "optax.scale_by_stddev" if optimizer.centered else "optax.scale_by_rms"
    return [
        f"{scale}({numbers})",
        f"optax.trace({number(optimizer.momentum)})",
        "optax.scale_by_learning_rate(learning_rate)",
    ]


def _adam(setting: Setting) -> list[str] | None:
    optimizer = setting.recipe.optimizer
    if not optimizer.bias_correction or optimizer.rules.epsilon != "outside":
        return None
    betas = f"b1={number(optimizer.beta1)}, b2={number(optimizer.beta2)}"
    return [f"optax.adam(learning_rate, {betas}, eps={number(optimizer.epsilon)})"]


_CHAINS: dict[Any, Callable[[Setting], list[str] | None]] = {
    SGD: _sgd,
    AdaGrad: _adagrad,
    RMSProp: _rmsprop,
    Adam: _adam,
    AdamW: _adam,
}


def _train(setting: Setting) -> str:
    recipe = setting.recipe
    augments = bool(_augment(recipe.augmentation))
    penalty = ""
    if isinstance(recipe.penalty, L2):
        strength = number(recipe.penalty.strength)
        penalty = f"loss += {strength} * sum(jnp.sum(w**2) for w in jax.tree.leaves(params) if w.ndim > 1)"
    averages = recipe.averaging is not None
    averaged = ""
    if averages:
        moved = f"m + (1 - {number(recipe.averaging.decay)}) * (v - m)"
        averaged = f"average = jax.tree.map(lambda m, v: {moved}, average, (params, state))"
    return block(
        '''
        def train(x, y, params=None):
            """Train on features x (EXAMPLES, *SHAPE) and labels y; return the model and what prepares its input."""
            if x.shape != (EXAMPLES, *SHAPE):
                raise ValueError(f"x is {x.shape}; this recipe was made for {(EXAMPLES, *SHAPE)}: set both above")
            prepare = fit_preprocessing(x)
            key = jax.random.key(SEED)
            first, state = make_model(jax.random.fold_in(key, 0))
            params = first if params is None else params
            optimizer = make_optimizer()
            opt_state = optimizer.init(params)
            «begin»

            @jax.jit
            def one_step(step, features, labels, params, state, opt_state«average»):
                «key»
                «augment»
                «count»

                def objective(params):
                    scores, after = apply(params, state, features, «step_key»)
                    loss = «mean»
                    «penalty»
                    return loss, after

                gradients, state = jax.grad(objective, has_aux=True)(params)
                updates, opt_state = optimizer.update(gradients, opt_state, params)
                params = optax.apply_updates(params, updates)
                «averaged»
                return params, state, opt_state«average»

            for step, rows in enumerate(batches()):
                features, labels = prepare(x[rows]), np.asarray(y[rows], np.int32)
                params, state, opt_state«average» = one_step(step, features, labels, params, state, opt_state«average»)
            «end»
            return (params, state), prepare
        ''',
        begin="average = jax.tree.map(jnp.zeros_like, (params, state))" if averages else "",
        average=", average" if averages else "",
        key="step_key, image_key = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 1), step))"
        if augments or _draws(setting)
        else "",
        augment="features = augment(features, image_key)" if augments else "",
        count=_COUNT if setting.fills else "",
        step_key="key=step_key" if _draws(setting) else "training=True",
        mean="jnp.sum(counts * data_loss(scores, labels)) / count"
        if setting.fills
        else "jnp.mean(data_loss(scores, labels))",
        penalty=penalty,
        averaged=averaged,
        end=_end(setting),
    )


_COUNT = """count = jnp.minimum(BATCH, EXAMPLES - step % PER_EPOCH * BATCH)
counts = jnp.arange(BATCH) < count  # what fills a batch up counts in normalisation alone"""


def _end(setting: Setting) -> str:
    if setting.recipe.averaging is None:
        return ""
    decay = number(setting.recipe.averaging.decay)
    return f"params, state = jax.tree.map(lambda m: m / (1 - {decay} ** (step + 1)), average)"


def _draws(setting: Setting) -> bool:
    model = setting.recipe.model
    return getattr(model, "dropout", None) is not None or getattr(model, "stochastic_depth", None) is not None


_PREDICT = block(
    '''
    def predict(model, features):
        """Return the labels of prepared features."""
        scores, _ = apply(*model, features)
        return np.asarray(scores).argmax(axis=1)
    '''
)
