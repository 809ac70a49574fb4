"""Curvature of the full objective against dense Hessians, identities, and what it must refuse."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import thalweg as tw
from thalweg.data import Split
from thalweg.data.preprocessing import Preprocessing
from thalweg.diagnostics import objective
from thalweg.diagnostics.curvature import Curvature, curvature, curvatures
from thalweg.diagnostics.curvature_record import Eigenpair
from thalweg.diagnostics.lanczos import density_of
from thalweg.diagnostics.objective import flat, products, slope, stack_models
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.losses import Hinge, Softmax
from thalweg.models import Convolutional, Dense, Linear
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty
from thalweg.plot.spectrum_figure import spectrum
from thalweg.precision import double
from thalweg.recipe import Recipe
from thalweg.training.train import examples_of

PLAIN = Preprocessing("none", np.float32(0), np.float32(1))
WHOLE: dict[str, Any] = {"iterations": 200, "probes": 2, "tolerance": 1e-12}


def split(features: int = 5, count: int = 70, weighted: bool = False) -> Split:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, features)).astype(np.float32)
    y = (x[:, :3] + rng.gumbel(size=(count, 3))).argmax(axis=1).astype(np.int32)
    return Split(x, y, weights=rng.uniform(0.2, 3, count) if weighted else None)


def model_of(recipe: Recipe, features: int = 5, seed: int = 0, size: float = 0.7) -> FittedModel:
    """A model at random weights, as a place where nothing is special."""
    params, state = recipe.model.init(jax.random.key(0), (features,), 3)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda a: (size * rng.normal(size=a.shape)).astype(np.float32), params)
    state = jax.tree.map(lambda a: np.abs(rng.normal(size=a.shape)).astype(np.float32) + 0.5, state)
    return FittedModel(recipe, params, state, PLAIN, ("a", "b", "c"), (features,))


def dense_hessian(model: FittedModel, data: Split) -> tuple[np.ndarray, float, np.ndarray]:
    """The Hessian, value and gradient in float64, by JAX's own dense derivative of a formula written out anew."""
    with double():
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), model.params)
        vector, back = ravel_pytree(params)
        x, y = jnp.asarray(data.features, jnp.float64), jnp.asarray(data.labels)
        share = np.full(len(data), 1 / len(data)) if data.weights is None else data.weights / data.weights.sum()
        penalty = model.recipe.penalty

        def objective(flat: jax.Array) -> jax.Array:
            tree = back(flat)
            state = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), model.model_state)
            scores, _ = model.recipe.model.apply(tree, state, x, key=None, training=False)
            log_p = jax.nn.log_softmax(scores, axis=1)
            data_loss = -jnp.sum(share * log_p[jnp.arange(len(y)), y])
            strength = float(getattr(penalty, "strength", 0)) * float(getattr(penalty, "beta", 1))
            leaves = jax.tree_util.tree_leaves_with_path(tree)
            weights = [leaf for path, leaf in leaves if path[-1].key == "weight"]
            squares = sum(jnp.sum(leaf**2) for leaf in weights)
            return data_loss + (0 if isinstance(penalty, L1) else strength * squares)

        found = jax.jit(lambda at: (jax.hessian(objective)(at), objective(at), jax.grad(objective)(at)))(vector)
        return np.asarray(found[0]), float(found[1]), np.asarray(found[2])


RECIPES = {
    "linear": Recipe(model=Linear(), penalty=L2(0.02)),
    "dense": Recipe(model=Dense(hidden=4, activation="tanh"), penalty=L2(0.01)),
    "normalised": Recipe(model=Dense(hidden=4, activation="gelu", batch_norm=True, dropout=0.5), penalty=NoPenalty()),
    "kinked": Recipe(model=Linear(), penalty=ElasticNet(0.02, 0.5)),
}


@pytest.mark.parametrize(("precision", "close"), [("single", 1e-5), ("double", 1e-10)])
@pytest.mark.parametrize("name", RECIPES)
def test_eigenvalues_are_those_of_the_dense_hessian(name: str, precision: Any, close: float) -> None:
    model, data = model_of(RECIPES[name]), split(weighted=name == "dense")
    dense, value, gradient = dense_hessian(model, data)
    exact, vectors = np.linalg.eigh(dense)
    found = curvature(model, data, precision=precision, **WHOLE)
    scale = np.abs(exact).max()
    assert found.largest.value == pytest.approx(exact[-1], abs=close * scale)
    assert found.least.value == pytest.approx(exact[0], abs=close * scale)
    assert found.largest.interval[0] <= exact[-1] <= found.largest.interval[1]
    assert found.least.interval[0] <= exact[0] <= found.least.interval[1]
    assert found.largest.bound < 10 * close * scale
    assert found.converged
    vector = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(found.largest.vector)])
    assert abs(vector @ vectors[:, -1]) == pytest.approx(1, abs=1e-4)
    if name != "kinked":  # whose value and slope hold the kinked part too
        assert found.value == pytest.approx(value, rel=close)
        assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=10 * close)


def test_moments_of_the_density_and_the_trace() -> None:
    model, data = model_of(RECIPES["dense"]), split()
    dense, _, _ = dense_hessian(model, data)
    found = curvature(model, data, precision="double", probes=64, iterations=200, tolerance=1e-12, broadening=1e-3)
    size = len(dense)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-3)
    # 64 probes: the estimate is within four of its own standard errors.
    assert abs(found.trace - np.trace(dense)) < 4 * found.trace_error
    assert found.trace_error < 0.2 * np.trace(dense)
    share = found.node_weights / len(found.nodes)
    # 64 random directions among so few: a spread of a few per cent.
    flat = np.mean(np.abs(np.linalg.eigvalsh(dense)) < 1e-3 * np.abs(np.linalg.eigvalsh(dense)).max())
    assert found.flat_share == pytest.approx(flat, abs=0.03)
    second = size * (share * found.nodes**2).sum()
    assert second == pytest.approx(np.sum(dense**2), rel=0.25)
    np.testing.assert_allclose(found.density, density_of(found.nodes, share, found.grid, found.broadening))


def test_l2_adds_twice_its_strength_to_every_eigenvalue() -> None:
    # Row C8. Without biases all weights are penalised, and H + 2 strength I moves the spectrum as a whole.
    data, strength = split(), 0.3
    plain, bent = (
        curvature(model_of(Recipe(model=Linear(bias=False), penalty=p)), data, precision="double", **WHOLE)
        for p in (NoPenalty(), L2(strength))
    )
    np.testing.assert_allclose(bent.nodes, plain.nodes + 2 * strength, atol=1e-10)
    # The five null directions may share their weight between nodes as rounding has it: so not weight by weight.
    np.testing.assert_allclose(bent.grid, plain.grid + 2 * strength, atol=1e-12)
    np.testing.assert_allclose(bent.density, plain.density, rtol=1e-8, atol=1e-8)
    assert bent.largest.value - plain.largest.value == pytest.approx(2 * strength, abs=1e-12)
    assert plain.verdict == "flat to rounding"  # the same row added to all classes' weights
    assert bent.verdict == "minimum"
    # Five features, so five null directions of fifteen; and what L2 makes of them.
    assert plain.flat_share > 0.05
    assert bent.flat_share == 0
    assert bent.condition == pytest.approx(bent.largest.value / (2 * strength), rel=1e-9)
    assert bent.condition_exact


def test_condition_number_off_the_null_space() -> None:
    model, data = model_of(RECIPES["linear"]), split()
    exact = np.linalg.eigvalsh(dense_hessian(model, data)[0])
    assert abs(exact[0]) < 1e-15 * exact[-1] * 10  # a constant added to all biases
    found = curvature(model, data, precision="double", **WHOLE)
    assert found.condition == pytest.approx(exact[-1] / exact[1], rel=1e-8)
    assert found.condition_exact
    assert found.verdict == "flat to rounding"


def test_a_cluster_just_above_rounding_is_no_exact_condition_number() -> None:
    # Eigenvalues between 2e-6 and 2e-5 of λmax: above the floor of float32, yet no product tells them well apart.
    scales = np.r_[np.ones(3), np.geomspace(1.6e-3, 4e-3, 37)]
    x = (np.random.default_rng(0).normal(size=(400, 40)) * scales).astype(np.float32)
    data = Split(x, (np.arange(400) % 2).astype(np.int32))
    recipe = Recipe(model=Linear(bias=False))
    found = curvature(recipe, data, preprocessing="none", iterations=82)
    # Two classes at weights of 0: H is the second moment of x/2 beside its negative, ± one another.
    exact = np.linalg.eigvalsh(x.T.astype(np.float64) @ x / 800)
    assert not found.condition_exact
    assert 0.2 * exact[-1] / found.floor < found.condition <= exact[-1] / exact[exact > found.floor].min()
    assert "condition number at least" in str(found)
    double_found = curvature(recipe, data, preprocessing="none", iterations=82, tolerance=1e-99, precision="double")
    assert double_found.condition_exact
    assert double_found.condition == pytest.approx(exact[-1] / exact[0], rel=0.1)


def test_directions_below_rounding_are_told_of() -> None:
    # L2 lifts 93 % of the directions to 6e-6, which float32 cannot tell from 0 beside λmax.
    rng = np.random.default_rng(0)
    data = Split(rng.normal(size=(6, 40)).astype(np.float32), (np.arange(6) % 2).astype(np.int32))
    recipe = Recipe(model=Linear(), penalty=L2(3e-6))
    found = curvature(recipe, data, preprocessing="none")
    assert found.null_share > 0.8
    assert f"without {found.null_share:.0%} of the directions: they are flat to rounding" in str(found)
    assert curvature(recipe, data, preprocessing="none", precision="double").null_share < 0.1


def test_products_are_of_full_precision() -> None:
    # An accelerator would take ten bits by default, and every bound would break.
    model, data = model_of(RECIPES["dense"]), split()
    point, seen = stack_models([model], np.float32), examples_of(data, model.preprocessing)
    vectors = jnp.zeros((1, 1, len(flat(model.params))))
    trial = jax.tree.map(lambda leaf: leaf[0], point)
    for one in (
        jax.make_jaxpr(lambda p: products(p, seen, vectors, rows=70))(point),
        jax.make_jaxpr(lambda p: slope(p, seen, rows=70))(point),
        jax.make_jaxpr(lambda p: objective._values(p, seen, vectors[0], rows=70))(trial),
    ):
        text = str(one)
        assert "dot_general[" in text
        assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == text.count("dot_general[")


def test_power_iteration_agrees() -> None:
    model, data = model_of(RECIPES["dense"], seed=3), split()
    dense = dense_hessian(model, data)[0]
    vector = np.random.default_rng(0).normal(size=len(dense))
    for _ in range(3000):
        vector = dense @ vector
        vector /= np.linalg.norm(vector)
    value = vector @ dense @ vector
    found = curvature(model, data, precision="double", **WHOLE)
    ends = [found.largest.value, found.least.value]
    assert max(ends, key=abs) == pytest.approx(value, rel=1e-8)


def test_a_two_layer_network_at_zero_weights_is_a_saddle() -> None:
    recipe = Recipe(model=Dense(hidden=4, activation="tanh"))
    model = model_of(recipe, size=0.0)
    y = np.repeat(np.arange(3), 24).astype(np.int32)  # balanced, so that the output biases rest too
    x = (np.eye(3)[y] @ np.random.default_rng(1).normal(size=(3, 5))).astype(np.float32)
    found = curvature(model, Split(x - x.mean(axis=0), y), **WHOLE)
    assert found.verdict == "saddle"
    assert found.critical
    assert found.gradient_norm < 1e-6
    assert found.least.value < -0.05
    # The way down couples both layers: each alone changes nothing.
    parts = {name: np.linalg.norm(layer["weight"]) for name, layer in found.least.vector.items()}
    assert min(parts.values()) > 0.5


def test_a_solution_is_critical_and_a_draw_is_not() -> None:
    data = split()
    recipe = Recipe(
        model=Linear(bias=False), penalty=L2(0.05), optimizer=tw.optimizers.SGD(0.5), batch_size="full", epochs=200
    )
    whole = tw.Dataset("made", "made", data, ("a", "b", "c"), validation=data)
    run = tw.fit(recipe, whole, preprocessing=None, test=0)
    end = curvature(run, whole)
    assert (end.critical, end.verdict) == (True, "minimum")
    assert "not 0" not in str(end)
    start = curvature(recipe, data, preprocessing=None)
    assert not start.critical
    assert "no minimum or saddle itself" in str(start)
    # A run, its model on its split, and its recipe at the run's weights are one thing.
    for same in (curvature(run.model, whole.train), curvature(recipe, data, run.model.params, preprocessing=None)):
        assert same.largest.value == end.largest.value
        assert same.value == end.value


def test_many_points_equal_each_alone() -> None:
    recipe, data = RECIPES["dense"], split()
    models = [model_of(dataclasses.replace(recipe, penalty=L2(s)), seed=i) for i, s in enumerate((0.0, 0.01, 0.1))]
    together = curvatures(models, data, iterations=20, probes=2)
    for model, found in zip(models, together, strict=True):
        alone = curvature(model, data, iterations=20, probes=2)
        assert found.largest.value == pytest.approx(alone.largest.value, rel=1e-5)
        assert found.least.value == pytest.approx(alone.least.value, abs=1e-5 * alone.largest.value)
        assert found.value == pytest.approx(alone.value, rel=1e-6)
    by_point = curvatures(models[:1], data, points=[m.params for m in models], iterations=20, probes=2)
    assert by_point[0].largest.value == together[0].largest.value
    assert by_point[2].largest.value != together[2].largest.value  # another penalty


def test_chunks_of_examples_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = model_of(RECIPES["dense"]), split(weighted=True)
    whole = curvature(model, data, precision="double", **WHOLE)
    # 70 examples in chunks of 32: the last is filled up, and what fills it counts nothing.
    monkeypatch.setattr(sys.modules[curvature.__module__], "chunk_rows", lambda *_: 32)
    cut = curvature(model, data, precision="double", **WHOLE)
    assert cut.largest.value == pytest.approx(whole.largest.value, rel=1e-12)
    assert cut.value == pytest.approx(whole.value, rel=1e-12)


def test_convolutions_have_curvature_too() -> None:
    rng = np.random.default_rng(0)
    data = Split(rng.normal(size=(24, 6, 6, 1)).astype(np.float32), np.arange(24, dtype=np.int32) % 3)
    recipe = Recipe(model=Convolutional(width=2, blocks=(1,)), penalty=L2(0.01))
    found = curvature(recipe, data, probes=1, iterations=8)
    again = curvature(recipe, data, probes=1, iterations=8, precision="double")
    assert found.largest.value == pytest.approx(again.largest.value, rel=1e-4)


def test_notes_and_figures() -> None:
    found = curvature(model_of(RECIPES["kinked"]), split(), iterations=20)
    assert "kinks of ElasticNet" in found.notes[0]
    figure = spectrum(found)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "eigenvalue of the Hessian"
    assert f"{found.largest.value:.4g}" in axes.get_legend().get_texts()[0].get_text()
    assert spectrum(found, dark=True).get_facecolor() != figure.get_facecolor()
    assert found.stable_rate() == pytest.approx(2 / found.largest.value)
    assert found.stable_rate(0.9) == pytest.approx(3.8 / found.largest.value)
    assert found.stable_rate(0.9, nesterov=True) == pytest.approx(3.8 / 2.8 / found.largest.value)


@pytest.mark.parametrize(
    ("least", "largest", "expected"),
    [(-1.0, 2.0, "saddle"), (0.1, 2.0, "minimum"), (-2.0, -0.1, "maximum"), (0.0, 2.0, "flat to rounding"),
     (-1e-9, 2.0, "flat to rounding"), (-2.0, 0.0, "saddle"), (-2.0, -1e-7, "saddle"), (0.0, 0.0, "flat to rounding")],
)  # fmt: skip
def test_verdicts(least: float, largest: float, expected: str) -> None:
    none = np.zeros(1)
    ends = [Eigenpair(value, 1e-6, True, None) for value in (largest, least)]
    found = Curvature(5, 5, 1.0, 0.0, *ends, 1e-6, 0.0, 0.0, 1.0, True, 0.0, 1, 1.0, none, none, none[None], none[None])
    assert found.verdict == expected
    assert found.critical


def test_what_cannot_be_had_is_refused() -> None:
    model, data = model_of(RECIPES["linear"]), split()
    with pytest.raises(UsageError, match="Hinge, which is made of straight pieces"):
        curvature(model_of(Recipe(loss=Hinge())), data)
    with pytest.raises(UsageError, match="point has the shapes"):
        curvature(model, data, {"weight": np.zeros((2, 2))})
    with pytest.raises(UsageError, match="open"):
        curvature(Recipe(penalty=L2(tw.log_uniform(1e-3, 1))), data)
    with pytest.raises(UsageError, match="give a FittedModel, a Run or a Recipe"):
        curvature("digits", data)
    with pytest.raises(UsageError, match="examples is 71"):
        curvature(model, data, examples=71)
    with pytest.raises(UsageError, match="probes"):
        curvature(model, data, probes=0)
    with pytest.raises(UsageError, match="another structure"):
        curvatures([model, model_of(RECIPES["dense"])], data)
    with pytest.raises(UsageError, match="sees its data otherwise"):
        curvatures(
            [model, dataclasses.replace(model, preprocessing=Preprocessing("none", np.float32(1), np.float32(1)))], data
        )
    with pytest.raises(UsageError, match="models is empty"):
        curvatures([], data)
    with pytest.raises(DataError, match="no labels"):
        curvature(model, Split(data.features, None))
    with pytest.raises(DataError, match="shape"):
        curvature(model, split(features=4))
    with pytest.raises(DataError, match="labels run from 0 to 7"):
        curvature(model, Split(data.features, np.full(70, 7, np.int32) * (np.arange(70) % 2).astype(np.int32)))
    huge = {"weight": np.full((3, 5), np.nan, np.float32), "bias": np.zeros(3, np.float32)}
    with pytest.raises(DataError, match="not finite"):
        curvature(model, data, huge)
    assert isinstance(model.recipe.loss, Softmax)
