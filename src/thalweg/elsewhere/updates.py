"""The update of one array, written out: for optimizers that a framework has otherwise, or not at all.

The text is the same for all frameworks, but for the name of the module that roots and signs come from.
"""

from __future__ import annotations

from typing import Any

from thalweg.elsewhere.setting import Setting, number
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.penalties import ElasticNet

__all__ = ["update_functions"]


def update_functions(setting: Setting, module: str) -> list[str]:
    """Return the source of ``start(x)`` and ``update(x, g, s, rate, t, weight)``, and of what they call.

    ``start`` returns the buffers of an array x by name, and ``update`` the new x
    and buffers for a gradient g at step t = 1, 2, ...; ``weight`` is True for what
    is penalised and decayed, False for biases. ``module`` has sqrt, abs, sign,
    maximum, zeros_like and full_like.
    """
    optimizer = setting.recipe.optimizer
    fresh, body, size = _RULES[type(optimizer)](optimizer, module)
    before, after = _decay(setting)
    kept = ", ".join(f'"{name}": {name}' for name in fresh)
    lines = [*before, *body, *after]
    functions = []
    if setting.proximal:
        functions.append(_shrink(module))
        lines += ["if weight:", f"    x = shrink(x, {_times_strength(size, setting)}){_divided(setting, size)}"]
    lines.append(f"return x, {{{kept}}}")
    first = ", ".join(f'"{name}": {value}' for name, value in fresh.items())
    functions.append(_function("start(x)", "The buffers of an array before the first step.", [f"return {{{first}}}"]))
    told = "Step t = 1, 2, ... of one array: x and its buffers, after a gradient g."
    functions.append(_function("update(x, g, s, rate, t, weight)", told, lines))
    return functions


def _decay(setting: Setting) -> tuple[list[str], list[str]]:
    """Weight decay: what stands before the rule (it joins g), and what stands after it (beside the step)."""
    optimizer, decay = setting.recipe.optimizer, setting.decays
    if decay is None:
        return [], []
    guard, indent = ([], "") if optimizer.rules.decays_biases else (["if weight:"], "    ")
    if optimizer.rules.decay == "coupled":
        return [*guard, f"{indent}g = g + {number(decay)} * x"], []
    scaled = f"rate * {number(decay)}"
    if getattr(optimizer, "decay_scaling", "rate") == "multiplier":
        scaled = f"rate / {number(optimizer.learning_rate.base)} * {number(decay)}"
    return ["old = x"], [*guard, f"{indent}x = x - {scaled} * old"]


def _sgd(optimizer: SGD, module: str) -> tuple[dict[str, str], list[str], str]:
    if optimizer.momentum is None:
        return {}, ["x = x - rate * g"], "rate"
    momentum = number(optimizer.momentum)
    size = f"rate / (1 - {momentum})"
    g = "g"
    if optimizer.dampening is not None:
        dampening = number(optimizer.dampening)
        size = f"rate * (1 - {dampening}) / (1 - {momentum})"
        g = f"(1 - {dampening}) * g" if optimizer.rules.dampens_first else f"(1 - {_late(module)} * {dampening}) * g"
    if optimizer.form == "outside":
        step = f"(g + {momentum} * v)" if optimizer.nesterov else "v"
        body = [f'v = {momentum} * s["v"] + {g}', f"x = x - rate * {step}"]
    else:  # "lookahead" is the same recursion, its terms in another order
        step = f'v + {momentum} * (v - s["v"])' if optimizer.nesterov else "v"
        body = [f'v = {momentum} * s["v"] - rate * {g}', f"x = x + {step}"]
    return {"v": f"{module}.zeros_like(x)"}, body, size


def _adagrad(optimizer: AdaGrad, module: str) -> tuple[dict[str, str], list[str], str]:
    root = _root(optimizer, module, "total", number(optimizer.epsilon))
    body = ['total = s["total"] + g * g', f"size = rate / {root}", "x = x - size * g"]
    return {"total": f"{module}.full_like(x, {number(optimizer.initial_accumulator)})"}, body, "size"


def _rmsprop(optimizer: RMSProp, module: str) -> tuple[dict[str, str], list[str], str]:
    zeros, decay = f"{module}.zeros_like(x)", number(optimizer.decay)
    fresh, spread = {"square": zeros}, "square"
    body = [_mean("square", "g * g", decay)]
    if optimizer.centered:
        fresh["mean"] = zeros
        spread = "spread"
        body += [_mean("mean", "g", decay), f"spread = {module}.maximum(square - mean * mean, {module}.zeros_like(x))"]
    body.append(f"root = {_root(optimizer, module, spread, number(optimizer.epsilon))}")
    if optimizer.momentum is None:
        return fresh, [*body, "x = x - rate * g / root"], "rate / root"
    fresh["v"], momentum = zeros, number(optimizer.momentum)
    if optimizer.rules.rate == "inside":
        body += [f'v = {momentum} * s["v"] - rate * g / root', "x = x + v"]
    else:
        body += [f'v = {momentum} * s["v"] + g / root', "x = x - rate * v"]
    return fresh, body, f"rate / root / (1 - {momentum})"


def _adam(optimizer: Adam, module: str) -> tuple[dict[str, str], list[str], str]:
    beta1, beta2, epsilon = (number(n) for n in (optimizer.beta1, optimizer.beta2, optimizer.epsilon))
    body = [_mean("m", "g", beta1), _mean("v", "g * g", beta2)]
    first, second = "m", "v"
    if optimizer.bias_correction:
        first, second = f"m / (1 - {beta1}**t)", f"v / (1 - {beta2}**t)"
        if optimizer.rules.epsilon == "uncorrected":
            epsilon = f"{epsilon} / (1 - {beta2}**t) ** 0.5"
    body += [f"size = rate / {_root(optimizer, module, second, epsilon)}", f"x = x - size * {first}"]
    zeros = f"{module}.zeros_like(x)"
    return {"m": zeros, "v": zeros}, body, "size"


def _lion(optimizer: Lion, module: str) -> tuple[dict[str, str], list[str], str]:
    body = [
        f"x = x - rate * {module}.sign({_moved('m', 'g', number(optimizer.beta1))})",
        _mean("m", "g", number(optimizer.beta2)),
    ]
    return {"m": f"{module}.zeros_like(x)"}, body, ""


_RULES: dict[type, Any] = {SGD: _sgd, AdaGrad: _adagrad, RMSProp: _rmsprop, Adam: _adam, AdamW: _adam, Lion: _lion}


def _late(module: str) -> str:
    """1 after the first step, and 0 in it: Keras has a backend that multiplies no truth values."""
    return 'ops.cast(t > 1, "float32")' if module == "ops" else "(t > 1)"


def _mean(name: str, value: str, share: str) -> str:
    return f"{name} = {_moved(name, value, share)}"


def _moved(name: str, value: str, share: str) -> str:
    return f'{share} * s["{name}"] + (1 - {share}) * {value}'


def _root(optimizer: Any, module: str, square: str, epsilon: str) -> str:
    if optimizer.rules.epsilon == "inside":
        return f"{module}.sqrt({square} + {epsilon})"
    return f"({module}.sqrt({square}) + {epsilon})"


def _shrink(module: str) -> str:
    told = "The proximal step of the L1 norm: what is smaller than the threshold becomes 0."
    moved = f"{module}.abs(x) - threshold"
    return _function(
        "shrink(x, threshold)",
        told,
        [f"return {module}.sign(x) * {module}.maximum({moved}, {module}.zeros_like(x))"],
    )


def _times_strength(size: str, setting: Setting) -> str:
    return f"{size} * {number(setting.recipe.penalty.strength)}"


def _divided(setting: Setting, size: str) -> str:
    penalty = setting.recipe.penalty
    if not isinstance(penalty, ElasticNet):
        return ""
    return f" / (1 + 2 * {number(penalty.beta)} * {_times_strength(size, setting)})"


def _function(head: str, told: str, body: list[str]) -> str:
    return "\n".join([f"def {head}:", f'    """{told}"""', *(f"    {line}" for line in body)])
