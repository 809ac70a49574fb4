"""K-FAC: its factors against loops over examples, its step against explicit Kronecker products."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optimizer_cases import stacked

from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.models import Linear
from thalweg.models.dense import Dense
from thalweg.optimizers import KFAC, Adam, kronecker
from thalweg.optimizers.kfac import Observations
from thalweg.optimizers.kronecker import Factors

KEY = jax.random.key(0)
BATCH, FEATURES, CLASSES = 12, 5, 3


def recipe_of(*hidden: int, **options: Any) -> Any:
    return SimpleNamespace(model=Dense(hidden=hidden, activation="tanh", **options), loss=Softmax())


def problem(recipe: Any, seed: int = 0) -> tuple[Any, ...]:
    """Params, the model's state, x, labels, and weights of which the last two are 0."""
    random = np.random.default_rng(seed)
    params, state = jax.eval_shape(lambda: recipe.model.init(KEY, (FEATURES,), CLASSES))
    params = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype), params)
    x, labels = random.normal(size=(BATCH, FEATURES)), random.integers(0, CLASSES, size=BATCH)
    weight = np.where(np.arange(BATCH) < BATCH - 2, 1.0, 0.0)
    dtype = jax.tree.leaves(params)[0].dtype
    return params, state, jnp.asarray(x, dtype), jnp.asarray(labels, jnp.int32), jnp.asarray(weight, dtype)


def observed(optimizer: Any, recipe: Any, case: tuple[Any, ...], key: Any = KEY, step: int = 0) -> Any:
    return jax.jit(lambda case, key: optimizer.observe(recipe, *case, jnp.int32(step), key))(case, key)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


# --- what is observed


def test_factors_equal_loops_over_examples(x64: None) -> None:
    """Two layers, back-propagated by hand; examples of weight 0 count for nothing."""
    recipe = recipe_of(4)
    case = problem(recipe)
    factors = observed(KFAC(fisher="empirical"), recipe, case).factors
    (p, _, x, labels, weight) = jax.tree.map(np.asarray, case)
    hidden = np.tanh(x @ p["layer_1"]["weight"].T + p["layer_1"]["bias"])
    outer = softmax(hidden @ p["output"]["weight"].T + p["output"]["bias"]) - np.eye(CLASSES)[labels]
    inner = (outer @ p["output"]["weight"]) * (1 - hidden**2)
    for name, a, g in (("layer_1", x, inner), ("output", hidden, outer)):
        means = [0.0, 0.0]
        for n in range(BATCH):
            extended = np.append(a[n], 1.0)
            means[0] = means[0] + weight[n] * np.outer(extended, extended) / weight.sum()
            means[1] = means[1] + weight[n] * np.outer(g[n], g[n]) / weight.sum()
        np.testing.assert_allclose(factors.inputs[name], means[0], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(factors.outputs[name], means[1], rtol=1e-10, atol=1e-14)


def test_sampled_labels_follow_the_softmax(x64: None) -> None:
    """Over many draws G is E[diag p − ppᵀ], whatever the data's labels are."""
    recipe = recipe_of()
    params, state, x, labels, weight = problem(recipe)

    def draw(key: Any, labels: Any) -> Any:
        return observed(KFAC(), recipe, (params, state, x, labels, weight), key).factors.outputs["output"]

    keys = jax.random.split(KEY, 4000)
    program = jax.jit(jax.vmap(draw, in_axes=(0, None)))
    draws = np.asarray(program(keys, labels))
    np.testing.assert_array_equal(draws, program(keys, labels * 0))
    p = softmax(np.asarray(x @ params["output"]["weight"].T + params["output"]["bias"][None]))[: BATCH - 2]
    expected = np.mean([np.diag(row) - np.outer(row, row) for row in p], axis=0)
    # Each entry within five standard errors of a mean over 4,000 draws.
    assert np.all(np.abs(draws.mean(0) - expected) < 5 * draws.std(0) / np.sqrt(len(keys)) + 1e-12)


def test_the_first_layers_inputs_are_formed_once_for_all_trials() -> None:
    """vmap itself refuses the out_axes None of a result that differs between trials."""
    recipe = recipe_of(4)
    params, state, x, labels, weight = problem(recipe)
    trials = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)

    def one(params: Any) -> Any:
        return observed(KFAC(), recipe, (params, state, x, labels, weight)).factors

    def shared(name: str) -> Any:
        axes = {"layer_1": 0, "output": 0}
        return jax.vmap(one, out_axes=Factors({**axes, name: None}, axes))

    assert jax.eval_shape(shared("layer_1"), trials).inputs["layer_1"].shape == (FEATURES + 1, FEATURES + 1)
    with pytest.raises(ValueError, match="out_axes"):
        jax.eval_shape(shared("output"), trials)


@pytest.mark.parametrize(
    ("optimizer", "recipe", "message"),
    [
        (KFAC(), SimpleNamespace(model=Linear(), loss=Softmax()), "the model Linear has no trace"),
        (KFAC(), SimpleNamespace(model=Dense(), loss=Hinge()), "the loss is Hinge; give KFAC"),
    ],
)
def test_what_cannot_be_observed_is_refused(optimizer: Any, recipe: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        observed(optimizer, recipe, (None,) * 5)


def test_a_trace_that_leaves_out_a_layer_is_refused() -> None:
    recipe = recipe_of(4)
    case = problem(recipe)

    class Forgetful:
        def trace(self, *arguments: Any, **keywords: Any) -> Any:
            scores, state, inputs = recipe.model.trace(*arguments, **keywords)
            return scores, state, {"output": inputs["output"]}

    with pytest.raises(UsageError, match="no input of the layer 'layer_1'"):
        observed(KFAC(), SimpleNamespace(model=Forgetful(), loss=Softmax()), case)


# --- the step


def damped(a: np.ndarray, g: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    pi = np.sqrt((np.trace(a) / len(a)) / (np.trace(g) / len(g)))
    return a + pi * np.sqrt(damping) * np.eye(len(a)), g + np.sqrt(damping) / pi * np.eye(len(g))


def test_steps_equal_explicit_kronecker_solves(x64: None) -> None:
    """Five steps with given factors: leaky means, corrections, the interval, the clip, momentum and decay."""
    random = np.random.default_rng(0)
    rate, rho, damping, keep, clip, decay = 0.3, 0.8, 0.05, 0.7, 0.02, 0.1
    optimizer = KFAC(rate, rho, damping, keep, clip, decay, interval=2)
    x = {"weight": random.normal(size=(3, 4)), "bias": random.normal(size=3)}
    params = {"layer": x, "plain_scale": np.ones(2)}
    a_mean, g_mean, v = np.zeros((5, 5)), np.zeros((3, 3)), np.zeros((3, 5))
    clipped = []
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    for t in range(5):
        (a, g), gradient = (random.normal(size=(9, n)) for n in (5, 3)), (3.0**-t) * random.normal(size=(3, 5))
        a, g = a.T @ a / 9, g.T @ g / 9
        gradients = {"layer": {"weight": gradient[:, :4], "bias": gradient[:, 4]}, "plain_scale": np.full(2, 5.0)}
        seen = Observations(jnp.int32(t), Factors({"layer": jnp.asarray(a)}, {"layer": jnp.asarray(g)}))
        updates, state = update(gradients, state, params, seen)

        a_mean, g_mean = keep * a_mean + (1 - keep) * a, keep * g_mean + (1 - keep) * g
        if t % 2 == 0:
            a_used, g_used = damped(a_mean / (1 - keep ** (t + 1)), g_mean / (1 - keep ** (t + 1)), damping)
        # Row by row, vec(G V A) = (G ⊗ A) vec(V) for a symmetric A.
        u = np.linalg.solve(np.kron(g_used, a_used), gradient.ravel()).reshape(3, 5)
        factor = min(1.0, np.sqrt(clip / (rate**2 / 2 * np.sum(u * gradient))))
        clipped.append(factor < 1)
        v = rho * v + factor * u
        step = -rate * v
        step[:, :4] -= rate * decay * params["layer"]["weight"]
        np.testing.assert_allclose(updates["layer"]["weight"], step[:, :4], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(updates["layer"]["bias"], step[:, 4], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(updates["plain_scale"], -rate * 5 * sum(rho**k for k in range(t + 1)), rtol=1e-12)
        params = jax.tree.map(lambda p, d: np.asarray(p + d), params, updates)
    assert {True, False} == set(clipped)


def test_it_is_the_natural_gradient_where_the_factors_are_exact(x64: None) -> None:
    """All examples have one input, so F = G ⊗ A: hardly damped, the step is F⁺∇, from the full Fisher matrix."""
    recipe = recipe_of()
    params, state, x, labels, weight = problem(recipe)
    x, weight = jnp.broadcast_to(x[:1], x.shape), jnp.ones_like(weight)
    optimizer = KFAC(1.0, 0.0, 1e-10, clip=1e9, fisher="empirical")
    seen = observed(optimizer, recipe, (params, state, x, labels, weight))

    a = np.append(x[0], 1.0)
    scores = np.asarray(x @ params["output"]["weight"].T + params["output"]["bias"][None])
    rows = softmax(scores) - np.eye(CLASSES)[np.asarray(labels)]
    fisher = np.mean([np.outer(np.kron(g, a), np.kron(g, a)) for g in rows], axis=0)
    factors = seen.factors
    np.testing.assert_allclose(np.kron(factors.outputs["output"], factors.inputs["output"]), fisher, rtol=1e-9)

    gradient = np.outer(rows.mean(0), a)
    gradients = {"output": {"weight": jnp.asarray(gradient[:, :-1]), "bias": jnp.asarray(gradient[:, -1])}}
    updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(params), params, seen)
    # What damping leaves: √1e-10 beside eigenvalues of about 0.1.
    expected = -(np.linalg.pinv(fisher, rcond=1e-10) @ gradient.ravel()).reshape(gradient.shape)
    np.testing.assert_allclose(updates["output"]["weight"], expected[:, :-1], rtol=1e-3)
    np.testing.assert_allclose(updates["output"]["bias"], expected[:, -1], rtol=1e-3)


def test_without_observations_the_curvature_stays() -> None:
    """Before the first batch it is the identity: momentum. Later it is what was seen last."""
    recipe = recipe_of()
    case = problem(recipe)
    optimizer = KFAC(0.1, 0.0, clip=1e9)
    update = jax.jit(optimizer.update)
    gradients, state = case[0], optimizer.init(case[0])
    updates, _ = update(gradients, state, case[0])
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -0.1 * g, rtol=1e-6), updates, gradients)
    first, state = update(gradients, state, case[0], observed(optimizer, recipe, case))
    again, _ = update(gradients, state, case[0])
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.allclose(first["output"]["weight"], updates["output"]["weight"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_no_curvature_is_no_trouble(dtype: Any, x64: None) -> None:
    """G = 0, where every example is fitted to the last digit, leaves damping alone; types are kept."""
    params = {"layer": {"weight": jnp.ones((3, 4), dtype)}}
    optimizer = jax.tree.map(jnp.float64, KFAC(0.1, clip=1e9))
    nothing = Factors({"layer": jnp.eye(4, dtype=dtype)}, {"layer": jnp.zeros((3, 3), dtype)})
    state = optimizer.init(params)
    seen = Observations(jnp.int32(0), nothing)
    updates, after = jax.jit(lambda: optimizer.update(params, state, params, seen))()
    np.testing.assert_allclose(updates["layer"]["weight"], -0.1 / 0.03, rtol=1e-3)
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_inversions_stay_a_branch_among_trials() -> None:
    """With states side by side, as the training program has them: the step, one for all, decides; were it a
    trial's own, all trials would compute the inverses at every step."""
    params = {"layer": {"weight": jnp.ones((2, 3, 4))}}  # of two trials
    trials = stacked([KFAC(0.1), KFAC(0.2)])
    state = jax.vmap(lambda one, params: one.init(params))(trials, params)
    factors = Factors({"layer": jnp.ones((2, 4, 4))}, {"layer": jnp.ones((2, 3, 3))})

    def branches(step: Any, axis: Any) -> bool:
        def one(trial: Any, state: Any, params: Any, step: Any, factors: Any) -> Any:
            return trial.update(params, state, params, Observations(step, factors))

        program = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, axis, 0)))
        return "stablehlo.case" in program.lower(trials, state, params, step, factors).as_text()

    assert branches(jnp.int32(0), None)
    assert not branches(jnp.arange(2), 0)


# --- whole runs


def losses(optimizer: Any, recipe: Any, x: Any, labels: Any, steps: int) -> Any:
    """The full-batch losses of a run, as the training program takes its steps."""
    params, model_state = recipe.model.init(jax.random.key(1), x.shape[1:], CLASSES)
    weight = jnp.ones(len(labels))

    def value(params: Any, key: Any) -> Any:
        return jnp.mean(recipe.loss(recipe.model.apply(params, model_state, x, key=key, training=True)[0], labels))

    def step(carry: Any, number: Any) -> Any:
        params, state = carry
        key = jax.random.fold_in(KEY, number)
        loss, gradients = jax.value_and_grad(value)(params, key)
        seen = ()
        if getattr(optimizer, "observes", False):
            seen = (optimizer.observe(recipe, params, model_state, x, labels, weight, number, key),)
        updates, state = optimizer.update(gradients, state, params, *seen)
        return (jax.tree.map(jnp.add, params, updates), state), loss

    return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[1]


def badly_conditioned() -> tuple[Any, Any]:
    """Three classes told apart by a curved border, seen through features of sizes from 1 to 1/100, mixed."""
    random = np.random.default_rng(0)
    latent = random.normal(size=(200, FEATURES))
    labels = np.digitize(latent[:, 0] + np.sin(2 * latent[:, 1]), [-0.5, 0.5])
    mixed, _ = np.linalg.qr(random.normal(size=(FEATURES, FEATURES)))
    x = latent * np.array([0.01, 0.03, 1.0, 1.0, 1.0]) @ mixed
    return jnp.asarray(x, jnp.float32), jnp.asarray(labels, jnp.int32)


def test_bad_conditioning_costs_fewer_steps_than_adam() -> None:
    """At one rate, against the best of six rates of Adam in twice the steps."""
    recipe, (x, labels) = recipe_of(16), badly_conditioned()
    adams = stacked([Adam(rate) for rate in (3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)])
    adam = np.asarray(jax.jit(jax.vmap(lambda one: losses(one, recipe, x, labels, 300)))(adams))
    ours = np.asarray(jax.jit(lambda: losses(KFAC(1.0, damping=0.01), recipe, x, labels, 150))())
    assert ours[0] == pytest.approx(adam[0, 0], rel=1e-5)  # they start together
    assert ours[-1] < adam.min() < 0.5 * adam[0, 0]


def test_trials_equal_solo_runs() -> None:
    """Batch normalisation too: its parameters have no factors."""
    recipe, (x, labels) = recipe_of(6, batch_norm=True), badly_conditioned()
    trials = stacked([KFAC(0.1, weight_decay=0.1, interval=2), KFAC(0.3, 0.5, 0.1, 0.8, 0.1, 0.01, 2)])
    together = jax.jit(jax.vmap(lambda one: losses(one, recipe, x, labels, 5)))(trials)
    solo = jax.jit(lambda one: losses(one, recipe, x, labels, 5))
    for place in range(2):
        alone = solo(jax.tree.map(operator.itemgetter(place), trials))
        np.testing.assert_allclose(together[place], alone, rtol=2e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_the_curvature_is_that_of_the_plain_loss_under_smoothed_labels(x64: None) -> None:
    """Drawn labels go through p − e_y: smoothing would shrink the curvature that the loss has."""
    model = Dense((), output_scale=1.0)
    params, state = model.init(jax.random.key(0), (3,), 3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)))
    arguments = (params, state, x, None, jnp.ones(20), jax.random.key(1))
    plain, smoothed = (kronecker.observe(model, loss, *arguments) for loss in (Softmax(), Softmax(0.3)))
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(smoothed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_of_rows_that_fill_a_batch_up_count_for_nothing(x64: None) -> None:
    model = Dense((4,), batch_norm=True)
    params, state = model.init(jax.random.key(0), (3,), 3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)))
    weight = jnp.asarray([1.0] * 5 + [0.0] * 3)
    labels = jnp.asarray([0, 1, 2, 0, 1, 0, 1, 2])
    key = jax.random.key(1)
    one = kronecker.observe(model, Softmax(), params, state, x, labels, weight, key)
    other = kronecker.observe(model, Softmax(), params, state, x, labels.at[5:].set(0), weight, key)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
