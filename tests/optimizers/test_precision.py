"""Float32: 1 − β is formed in double precision, and moments and corrections stay accurate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optimizer_cases import stacked

from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from thalweg.optimizers.base import complement, corrections
from thalweg.ranges import uniform


def test_complements_are_formed_in_double_precision() -> None:
    assert Adam(beta2=0.9999).one_minus_beta2 == 1 - 0.9999
    assert complement(np.float32(0.9999)) == 1 - float(np.float32(0.9999))
    assert complement(uniform(0, 1)) is None
    assert complement(None) is None
    # Stacked and rounded to float32 it is still the best float32 there is; formed in float32 it is 2e-4 off.
    trial = jax.tree.map(jnp.float32, Adam(beta2=0.9999))
    assert float(trial.one_minus_beta2) == np.float32(1e-4)
    assert abs(float(1 - trial.beta2) / 1e-4 - 1) > 1e-4


def test_complements_are_leaves() -> None:
    both = stacked([Adam(beta1=0.5), Adam(beta1=0.9)])
    np.testing.assert_allclose(both.one_minus_beta1, [0.5, 0.1], rtol=1e-7)


def test_a_traced_number_has_its_complement() -> None:
    assert float(jax.jit(lambda beta: Adam(beta1=beta).one_minus_beta1)(0.75)) == 0.25


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999, 0.999999])
def test_bias_correction_is_accurate(beta: float) -> None:
    """1 − βᵗ to a few roundings (6e-8 each), for small t too, where float32's 1 − βᵗ cancels."""
    for t in (1, 2, 10, 1000, 100_000):
        value = corrections(jnp.float32(1 - beta), jnp.int32(t))
        # The rounding of 1 − β itself, 6e-8, enters in full.
        np.testing.assert_allclose(value, -np.expm1(t * np.log(beta)) if beta else 1.0, rtol=4e-7)


def second_moments(kind: Any, dtype: Any) -> np.ndarray:
    gradients = 1 + 0.5 * np.random.default_rng(0).normal(size=(4000, 8))
    optimizer = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), kind)
    params = jnp.zeros(8, dtype)

    def step(state: Any, gradient: Any) -> Any:
        return optimizer.update(gradient, state, params)[1], None

    return np.asarray(jax.lax.scan(step, optimizer.init(params), jnp.asarray(gradients, dtype))[0].second)


@pytest.mark.parametrize("optimizer", [Adam(beta2=0.9999), RMSProp(0.1, 0.9999)], ids=["Adam", "RMSProp"])
def test_float32_matches_float64_at_beta_near_one(optimizer: Any) -> None:
    single = second_moments(optimizer, jnp.float32)
    with jax.enable_x64(True):
        double = second_moments(optimizer, jnp.float64)
    # 4,000 additions, each rounded by up to half a unit (6e-8 of the sum); as a random walk 6e-8 · √4000 = 4e-6.
    # With 1 − β formed in float32 the error is 1.7e-4.
    np.testing.assert_allclose(single, double, rtol=1e-5)
    name = "beta2" if isinstance(optimizer, Adam) else "decay"
    short = float(np.float32(1) - np.float32(getattr(optimizer, name)))
    object.__setattr__(optimizer := jax.tree.map(lambda leaf: leaf, optimizer), f"one_minus_{name}", short)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(second_moments(optimizer, jnp.float32), double, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1, 0.9, weight_decay=0.1), AdaGrad(0.1), RMSProp(0.1, momentum=0.9), Adam(0.1), AdamW(0.1)],
    ids=lambda o: o.name,
)
def test_states_and_updates_keep_the_type_of_the_parameters(optimizer: Any, dtype: Any, x64: None) -> None:
    """Also where the numbers are float64 arrays: a training loop's carry must not change its type."""
    optimizer = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), optimizer)
    params = {"w": jnp.ones((2, 3), dtype)}
    state = optimizer.init(params)
    updates, after = optimizer.update(params, state, params)
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    assert updates["w"].dtype == dtype
    assert optimizer.step_size(after, params)["w"].dtype == dtype
