"""The optimizers of generated code against ours: 6 float64 steps, with and without a proximal penalty.

Tolerances are 1e-12: both sides compute the same formula in double precision, in another order.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest
from elsewhere_cases import OPTIMIZERS, as_users_do, bound, code_for, executed, gradients, name_of, start

import thalweg as tw
from thalweg.elsewhere.setting import Setting
from thalweg.elsewhere.updates import update_functions
from thalweg.optimizers import Lion
from thalweg.penalties import L1, ElasticNet, NoPenalty, is_smooth, penalty_prox

PENALTIES = [NoPenalty(), L1(0.02), ElasticNet(0.02, 0.5)]
# The proximal step meets each rule once: ours, and those whose step differs in another convention.
CASES = [
    (optimizer, penalty)
    for place, optimizer in enumerate(OPTIMIZERS)
    for penalty in (PENALTIES[0], PENALTIES[1 + place % 2])
    if is_smooth(penalty) or not isinstance(optimizer, Lion)
]
IDS = [f"{name_of(optimizer)}-{type(penalty).__name__}" for optimizer, penalty in CASES]


def recipe_of(optimizer: Any, penalty: Any) -> tw.Recipe:
    return tw.Recipe(optimizer=optimizer, penalty=penalty, batch_size=10, epochs=1)


@functools.cache
def ours(case: int) -> dict[str, np.ndarray]:
    """Where our optimizer ends, in float64."""
    optimizer, penalty = CASES[case]
    optimizer = bound(recipe_of(optimizer, penalty)).optimizer
    with jax.enable_x64(True):
        params: Any = jax.tree.map(jax.numpy.asarray, start())
        state = optimizer.init(params)
        for gradient in gradients():
            updates, state = optimizer.update(gradient, state, params)
            params = jax.tree.map(jax.numpy.add, params, updates)
            if not is_smooth(penalty):
                params = penalty_prox(penalty, params, optimizer.step_size(state, params))
        return {name: np.asarray(value) for name, value in params.items()}


def assert_same(found: dict[str, np.ndarray], case: int) -> None:
    for name, expected in ours(case).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12)
    if not is_smooth(CASES[case][1]):
        np.testing.assert_array_equal(found["weight"] == 0, ours(case)["weight"] == 0)


def rates(recipe: tw.Recipe) -> Any:
    """The script's own `rate`."""
    return executed(code_for(recipe, "torch"))["rate"]


@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
def test_the_written_update_equals_ours(case: int) -> None:
    recipe = recipe_of(*CASES[case])
    text = "\n\n".join(update_functions(Setting(recipe, 60, (2, 3), ("a", "b", "c")), "np"))
    script = executed(f"import numpy as np\n{text}")
    rate, x = rates(recipe), start()
    buffers = {name: script["start"](value) for name, value in x.items()}
    for step, gradient in enumerate(gradients()):
        for name in x:
            x[name], buffers[name] = script["update"](
                x[name], gradient[name], buffers[name], rate(step), step + 1, name == "weight"
            )
    assert_same(x, case)


@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
def test_the_optimizer_in_torch_equals_ours(case: int) -> None:
    torch = pytest.importorskip("torch")
    script = executed(code_for(recipe_of(*CASES[case]), "torch"))
    layer = torch.nn.Linear(6, 3, dtype=torch.float64)
    with torch.no_grad():
        for name, value in start().items():
            getattr(layer, name).copy_(torch.as_tensor(value))
    optimizer = script["make_optimizer"](layer)
    for step, gradient in enumerate(gradients()):
        for name, value in gradient.items():
            getattr(layer, name).grad = torch.as_tensor(value)
        for group in optimizer.param_groups:
            group["lr"] = script["rate"](step)
        optimizer.step()
    assert_same({name: p.detach().numpy() for name, p in layer.named_parameters()}, case)


# The proximal rule around the written update is one text; the update itself is tested above.
IN_OPTAX = [case for case, (_, penalty) in enumerate(CASES) if is_smooth(penalty)] + [1]


@pytest.mark.parametrize("case", IN_OPTAX, ids=[IDS[case] for case in IN_OPTAX])
def test_the_optimizer_in_optax_equals_ours(case: int, x64: None) -> None:
    optax = pytest.importorskip("optax")
    script = executed(code_for(recipe_of(*CASES[case]), "optax"))
    with as_users_do():
        optimizer = script["make_optimizer"]()
        params = jax.tree.map(jax.numpy.asarray, start())
        state = optimizer.init(params)
        for gradient in gradients():
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
    assert_same({name: np.asarray(value) for name, value in params.items()}, case)
