"""The models as pairs of plain JAX functions, with the parameters' names and the draws of the run."""

from __future__ import annotations

import math

from thalweg.elsewhere.script import block
from thalweg.elsewhere.setting import Setting, number
from thalweg.models import Convolutional, Dense, Linear

__all__ = ["model_functions"]

_ACTIVATIONS = {
    "relu": "jax.nn.relu(x)",
    "tanh": "jnp.tanh(x)",
    "sigmoid": "jax.nn.sigmoid(x)",
    "gelu": "jax.nn.gelu(x, approximate=False)",
    "silu": "jax.nn.silu(x)",
}


def model_functions(setting: Setting) -> list[str]:
    """Return the source of ``make_model(key) -> (params, state)`` and ``apply(params, state, x) -> (scores, state)``.

    In training ``apply`` also takes ``key=`` where the model draws at random, else ``training=``.
    """
    model = setting.recipe.model
    if isinstance(model, Linear):
        return _linear(model, math.prod(setting.shape), len(setting.classes))
    if isinstance(model, Dense):
        return _dense(model, math.prod(setting.shape), len(setting.classes))
    assert isinstance(model, Convolutional)
    return _convolutional(model, setting.shape[2], len(setting.classes))


def _linear(model: Linear, features: int, classes: int) -> list[str]:
    make = block(
        '''
        def make_model(key):
            """Return first parameters, and the state: none."""
            weight = «scale» * jax.random.normal(key, («classes», «features»))
            return «params», {}
        ''',
        scale=number(model.scale),
        classes=str(classes),
        features=str(features),
        params=f'{{"weight": weight, "bias": jnp.zeros({classes})}}' if model.bias else '{"weight": weight}',
    )
    apply = block(
        '''
        def apply(params, state, x, training=False):
            """Return the scores W x + b, and the state."""
            return x.reshape(len(x), -1) @ params["weight"].T«bias», state
        ''',
        bias=' + params["bias"]' if model.bias else "",
    )
    return [make, apply if model.bias else apply.replace(" + b", "")]


def _dense(model: Dense, features: int, classes: int) -> list[str]:
    fan = "before" if model.initialisation == "he" else "(before + after)"
    make = block(
        '''
        def make_model(key):
            """Return first parameters, as in «source», and the running statistics of normalisation, if any."""
            widths, params, state = «widths», {}, {}
            for place, (before, after) in enumerate(zip(widths, widths[1:])):
                last = place == len(widths) - 2
                name, scale = ("output", «output») if last else (f"layer_{place + 1}", «scale»)
                weight = jax.random.normal(jax.random.fold_in(key, place), (after, before))
                params[name] = {"weight": scale * math.sqrt(2 / «fan») * weight}
                «rest»
            return params, state
        ''',
        source="He et al. 2015" if model.initialisation == "he" else "Glorot & Bengio 2010",
        widths=repr((features, *model.hidden, classes)),
        output=number(model.output_scale),
        scale=number(model.scale),
        fan=fan,
        rest=_FRESH.replace("CONDITION", "last").replace("SIZE", "after")
        if model.batch_norm
        else 'params[name]["bias"] = jnp.zeros(after)',
    )
    draws = model.dropout is not None
    apply = block(
        '''
        def apply(params, state, x, «argument»):
            """Return the scores (B, classes), and the state after them."""
            «training»
            x, after = x.reshape(len(x), -1), {}
            for place in range(«count»):
                name = f"layer_{place + 1}"
                x = x @ params[name]["weight"].T«bias»
                «norm»
                x = «activation»
                «dropout»
            return x @ params["output"]["weight"].T + params["output"]["bias"], after
        ''',
        argument="key=None" if draws else "training=False",
        training="training = key is not None" if draws and model.batch_norm else "",
        count=str(len(model.hidden)),
        bias="" if model.batch_norm else ' + params[name]["bias"]',
        norm="x, after[name] = batch_norm(params[name], state[name], x, training)" if model.batch_norm else "",
        activation=_ACTIVATIONS[model.activation],
        dropout=f"x = dropout(x, {number(model.dropout)}, key, place)" if draws else "",
    )
    layers = [_batch_norm(model)] * bool(model.batch_norm) + [_DROPOUT] * draws
    return [make, *layers, apply]


_FRESH = """if CONDITION:
    params[name]["bias"] = jnp.zeros(SIZE)
else:
    params[name] |= {"norm_scale": jnp.ones(SIZE), "norm_offset": jnp.zeros(SIZE)}
    state[name] = {"mean": jnp.zeros(SIZE), "variance": jnp.ones(SIZE)}"""

_DROPOUT = block(
    '''
    def dropout(x, share, key, place):
        """In training (with a key) drop that share of the entries, and scale the others up."""
        if key is None:
            return x
        kept = jax.random.uniform(jax.random.fold_in(key, place), x.shape) >= share
        return jnp.where(kept, x / (1 - share), 0)
    '''
)


def _batch_norm(model: Dense | Convolutional) -> str:
    return block(
        '''
        def batch_norm(layer, state, x, training):
            """Normalise each feature over all other axes (Ioffe & Szegedy 2015)."""
            mean, variance = state["mean"], state["variance"]
            if training:
                axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
                mean, variance = jnp.mean(x, axes), jnp.var(x, axes)
                batch = {"mean": mean, "variance": variance * count / (count - 1)}
                state = {name: old + «momentum» * (batch[name] - old) for name, old in state.items()}
            factor = layer["norm_scale"] / jnp.sqrt(variance + «epsilon»)
            return (x - mean) * factor + layer["norm_offset"], state
        ''',
        momentum=number(model.momentum),
        epsilon=number(model.epsilon),
    )


def _convolutional(model: Convolutional, channels: int, classes: int) -> list[str]:
    width = model.width * 2 ** (len(model.blocks) - 1)
    rest = 'params[name]["bias"] = jnp.zeros(after)'
    if model.batch_norm:
        rest = "\n".join(line.removeprefix("    ") for line in _FRESH.split("\n")[3:]).replace("SIZE", "after")
    make = block(
        '''
        def make_model(key):
            """Return first parameters, as in He et al. 2015, and the running statistics of normalisation, if any."""
            params, state = {}, {}
            for place, (name, side, before, after) in enumerate(CONVOLUTIONS):
                weight = jax.random.normal(jax.random.fold_in(key, place), (side, side, before, after))
                params[name] = {"weight": «scale» * math.sqrt(2 / (side * side * before)) * weight}
                «rest»
            weight = jax.random.normal(jax.random.fold_in(key, len(params)), («classes», «width»))
            weight = «output» * math.sqrt(2 / «width») * weight
            params["output"] = {"weight": weight, "bias": jnp.zeros(«classes»)}
            return params, state
        ''',
        scale=number(model.scale),
        rest=rest,
        classes=str(classes),
        width=str(width),
        output=number(model.output_scale),
    )
    rows = "\n".join(f"    {row!r}," for row in model._convolutions(channels))
    listed = f"CONVOLUTIONS = [  # name, side in pixels, channels before and after\n{rows}\n]"
    layers = [_batch_norm(model)] * bool(model.batch_norm) + [_DROPOUT] * (model.dropout is not None)
    return [listed, make, *layers, _apply_convolutional(model)]


def _apply_convolutional(model: Convolutional) -> str:
    draws = model.dropout is not None or model.stochastic_depth is not None
    # A window's maximum by jnp.max would have 0/0 for a gradient where XLA computes x twice, rounded differently.
    window = '(1, 2, 2, 1), (1, 2, 2, 1), "VALID"'
    pooled = f"jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, {window})"
    if model.pooling == "average":
        pooled = f"jax.lax.reduce_window(x, 0.0, jax.lax.add, {window}) / 4"
    depth = ""
    if model.stochastic_depth is not None:
        depth = block(
            """
            survival = 1 - block / «total» * (1 - «last»)
            if key is None:
                change = survival * change
            else:
                change = jnp.where(jax.random.uniform(jax.random.fold_in(key, block)) < survival, change, 0)
            """,
            total=str(sum(model.blocks)),
            last=number(model.stochastic_depth),
        )
    return block(
        '''
        def apply(params, state, x, «argument»):
            """Return the scores (B, classes) of images, and the state after them."""
            «training»
            after = {}

            def convolution(name, x):
                axes = ("NHWC", "HWIO", "NHWC")
                x = jax.lax.conv_general_dilated(x, params[name]["weight"], (1, 1), "SAME", dimension_numbers=axes)
                «norm»
                return x

            x, block = jax.nn.relu(convolution("stem", x)), 0
            for stage, count in enumerate(«blocks», start=1):
                if stage > 1:
                    x = «pooled»
                    x = jax.nn.relu(convolution(f"widen_{stage}", x))
                for block in range(block + 1, block + count + 1):
                    change = jax.nn.relu(convolution(f"block_{block}_first", x))
                    change = convolution(f"block_{block}_second", change)
                    «depth»
                    x = jax.nn.relu(x + change)
            x = jnp.mean(x, axis=(1, 2))
            «dropout»
            return x @ params["output"]["weight"].T + params["output"]["bias"], after
        ''',
        argument="key=None" if draws else "training=False",
        training="training = key is not None" if draws and model.batch_norm else "",
        norm="x, after[name] = batch_norm(params[name], state[name], x, training)"
        if model.batch_norm
        else 'x = x + params[name]["bias"]',
        blocks=repr(model.blocks),
        pooled=pooled,
        depth=depth,
        dropout=f"x = dropout(x, {number(model.dropout)}, key, 0)" if model.dropout is not None else "",
    )
