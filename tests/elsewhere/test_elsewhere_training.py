"""Generated scripts, run whole, against the engine: 50 float32 steps from the same weights, over the same batches.

The engine's cohorts here differ in model, loss, penalty, optimizer and whatever else a step knows of, and
the schedules within a cohort are of all kinds. Both sides round to float32, in another order: 1e-5 of the largest
weight is about 100 roundings, over 50 steps; what a wrong convention does is a hundred times larger and more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from elsewhere_cases import CLASSES, EXAMPLES, as_users_do, code_for, executed

import thalweg as tw
from thalweg.augmentation import FlipCrop
from thalweg.averaging import ExponentialAverage
from thalweg.data.dataset import Split
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.losses import Hinge, Softmax
from thalweg.models import Convolutional, Dense, Linear
from thalweg.optimizers import SGD, AdaGrad, AdamW, RMSProp
from thalweg.penalties import L2, ElasticNet
from thalweg.schedules import (
    BatchScaled,
    Constant,
    Cosine,
    CosineRestarts,
    Step,
    Warmup,
)
from thalweg.schedules import Linear as LinearDecay
from thalweg.training import Settings, train
from thalweg.training.program import Inputs
from thalweg.training.train import examples_of

TABLE, IMAGES = (5,), (4, 4, 1)
SCHEDULES = [
    Constant(0.01),
    Warmup(0.1, Cosine(0.02), unit="run"),
    CosineRestarts(0.02, 1, 2.0, 0.001, unit="epochs"),
    BatchScaled(LinearDecay(0.1, floor=0.01), 128),
]


def data(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes; images are bytes."""
    generator = np.random.default_rng(3)
    y = generator.integers(0, 3, EXAMPLES).astype(np.int32)
    x = generator.normal(size=(3, *shape))[y] + generator.normal(size=(EXAMPLES, *shape))
    return (x.astype(np.float32), y) if shape == TABLE else (np.clip(128 + 40 * x, 0, 255).astype(np.uint8), y)


def recipe(**parts: Any) -> tw.Recipe:
    """50 steps: 10 epochs of 5, the last of which is short."""
    return tw.Recipe(**({"batch_size": 13, "epochs": 10, "seed": 5} | parts))


CASES: dict[str, tuple[tw.Recipe, tuple[int, ...], str]] = {
    **{
        f"linear, L2, AdamW, {type(schedule).__name__}": (
            recipe(penalty=L2(1e-2), optimizer=AdamW(schedule, weight_decay=0.1), model=Linear(0.1)),
            TABLE,
            "standardize",
        )
        for schedule in SCHEDULES
    },
    # Not on bytes: there the hinge's gradient, a sum of whole images, can cancel to 0, and RMSProp divides the
    # rounding that is left of it by its own size.
    "linear without bias, hinge, elastic net, RMSProp, clipped, averaged": (
        recipe(
            model=Linear(0.1, bias=False), loss=Hinge(), penalty=ElasticNet(1e-2, 0.3), clip=0.5,
            optimizer=RMSProp(Cosine(0.01), momentum=0.5), averaging=ExponentialAverage(0.9), batch_size="full",
            epochs=50,
        ),
        TABLE,
        "none",
    ),
    "dense, batch norm, label smoothing, AdaGrad": (
        recipe(
            model=Dense((6, 5), "tanh", batch_norm=True, initialisation="xavier"), loss=Softmax(0.1), penalty=L2(1e-3),
            optimizer=AdaGrad(Step(0.05, (5,), 0.3)),
        ),
        IMAGES,
        "center",
    ),
}  # fmt: skip
# The schedules are the same text in all scripts: one of them is enough where each case is compiled anew.
FEW = [name for name in CASES if "AdamW" not in name or "Restarts" in name]
# What draws at random in each step, which the script for Optax does as we do; PyTorch and Keras draw otherwise.
RANDOM = {
    "convolutional, batch norm, stochastic depth, flips and crops": (
        recipe(
            model=Convolutional(2, (1,), stochastic_depth=0.5, dropout=0.2),
            augmentation=FlipCrop(crop=1), optimizer=SGD(0.05), epochs=3, clip=0.1,
        ),
        IMAGES,
        "center",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch's threads wait for each other by spinning: on arrays of ten numbers that is nearly all they do."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ours() -> dict[str, tuple[Any, Any]]:
    """The engine's (params, model_state) of every case, and (by the name "first") before the first step."""
    found = {}
    cases = CASES | RANDOM
    for shape, kind in dict.fromkeys((shape, kind) for _, shape, kind in cases.values()):
        names = [name for name, case in cases.items() if case[1:] == (shape, kind)]
        x, y = data(shape)
        examples = examples_of(Split(x, y), fit_preprocessing(x, kind))
        outcome = train([cases[name][0] for name in names], {None: Inputs(examples, None)}, 3, Settings())
        for name, record in zip(names, outcome.records, strict=True):
            found[name] = record.params, record.model_state
    return found


def script(name: str, to: str) -> dict[str, Any]:
    one, shape, kind = (CASES | RANDOM)[name]
    return executed(code_for(one, to, shape=shape, preprocessing=kind, uint8=shape != TABLE, classes=CLASSES))


@functools.cache
def first(name: str) -> Any:
    """The engine's (params, model_state) before the first step."""
    one, shape, _ = CASES[name]
    return one.model.init(jax.random.fold_in(jax.random.key(one.seed), 0), shape, 3)


def assert_near(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("name", [*FEW, *RANDOM])
def test_optax_repeats_the_run(name: str, ours: dict[str, Any]) -> None:
    pytest.importorskip("optax")
    _, shape, _ = (CASES | RANDOM)[name]
    with as_users_do():
        (params, state), _ = script(name, "optax")["train"](*data(shape))
    expected, expected_state = ours[name]
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert_near(jax.tree.leaves(params), jax.tree.leaves(expected))
    assert_near(jax.tree.leaves(state), jax.tree.leaves(expected_state))


def flat(model: Any, params: Any, state: Any = ()) -> list[np.ndarray]:
    """All arrays, layer by layer in the order of the model, kernels as (…, in, out)."""
    if isinstance(model, Linear):
        return _layer(params, None)
    names = [*model._names()] if isinstance(model, Dense) else [*(row[0] for row in model._convolutions(1)), "output"]
    return [array for name in names for array in _layer(params[name], dict(state).get(name))]


def _layer(layer: Any, state: Any) -> list[np.ndarray]:
    weight = np.asarray(layer["weight"])
    beside = [np.asarray(layer[k]) for k in ("bias", "norm_scale", "norm_offset") if k in layer]
    running = [] if state is None else [np.asarray(state["mean"]), np.asarray(state["variance"])]
    return [weight.T if weight.ndim == 2 else weight, *beside, *running]


def filled(network: Any, arrays: list[np.ndarray], to: str) -> Any:
    """Hand our arrays over to a network of another framework."""
    if to == "keras":
        for variable, array in zip(network.weights, arrays, strict=True):
            variable.assign(array)
        return network
    tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
    for tensor, array in zip(tensors, arrays, strict=True):
        tensor.copy_(as_tensor(_as_torch(array)))
    return network


def arrays_of(network: Any, to: str) -> list[np.ndarray]:
    if to == "keras":
        return [np.asarray(variable.value) for variable in network.weights]
    return [t.numpy() for t in network.state_dict().values() if t.is_floating_point()]


def as_tensor(array: np.ndarray) -> Any:
    import torch

    return torch.as_tensor(np.array(array))


def _as_torch(array: np.ndarray) -> np.ndarray:
    """Kernels lie as (out, in, …) in PyTorch."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


@pytest.mark.parametrize("name", CASES)
def test_torch_takes_the_same_steps(name: str, ours: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    names, model = script(name, "torch"), CASES[name][0].model
    trained, _ = names["train"](
        *data(CASES[name][1]), filled(names["make_model"](), flat(model, *first(name)), "torch")
    )
    assert_near(arrays_of(trained, "torch"), [_as_torch(array) for array in flat(model, *ours[name])])


@pytest.mark.parametrize("name", FEW)
def test_keras_takes_the_same_steps(name: str, ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    with as_users_do():
        names, model = script(name, "keras"), CASES[name][0].model
        trained, _ = names["train"](
            *data(CASES[name][1]), filled(names["make_model"](), flat(model, *first(name)), "keras")
        )
        assert_near(arrays_of(trained, "keras"), flat(model, *ours[name]))


@pytest.mark.parametrize("to", ["torch", "keras"])
def test_convolutional_networks_give_our_scores(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training: scores, and the running statistics after them. 1e-5 of the largest is a few float32 roundings."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(to)
    model = Convolutional(2, (1, 1))
    names = executed(code_for(recipe(model=model), to, shape=IMAGES))
    x = np.random.default_rng(0).normal(size=(8, *IMAGES)).astype(np.float32)
    params, state = model.init(jax.random.key(0), IMAGES, 3)
    with as_users_do():
        network = filled(names["make_model"](), flat(model, params, state), to)
        scores = network(x, training=True) if to == "keras" else network(as_tensor(x)).detach()
        found = [np.asarray(scores), *arrays_of(network, to)]
    expected, after = model.apply(params, state, x, key=None, training=True)
    kept = flat(model, params, after) if to == "keras" else [_as_torch(a) for a in flat(model, params, after)]
    assert_near(found, [np.asarray(expected), *kept])


@pytest.mark.parametrize("model", [Dense((6,), dropout=0.4), Convolutional(2, (1, 1), dropout=0.4)], ids=repr)
def test_dropout_in_optax_is_the_same_draw(model: Any) -> None:
    pytest.importorskip("optax")
    names = executed(code_for(recipe(model=model), "optax", shape=IMAGES))
    x = np.random.default_rng(0).normal(size=(8, *IMAGES)).astype(np.float32)
    key = jax.random.key(4)
    with as_users_do():
        params, state = names["make_model"](key)
        scores, _ = names["apply"](params, state, x, key=key)
        quiet, _ = names["apply"](params, state, x)
    np.testing.assert_allclose(scores, model.apply(params, state, x, key=key, training=True)[0], atol=1e-5)
    np.testing.assert_allclose(quiet, model.apply(params, state, x, key=None, training=False)[0], atol=1e-5)
    assert np.abs(scores - quiet).max() > 1e-3


@pytest.mark.parametrize(
    ("to", "model"),
    [("torch", Convolutional(24, (1, 1), scale=0.5)), ("keras", Dense((80, 60), initialisation="xavier"))],
)
def test_first_weights_have_our_spread(to: str, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root mean square of n draws is within 5/√(2n) of the standard deviation; all else is exact."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(to)
    with as_users_do():
        network = executed(code_for(recipe(model=model), to, shape=(8, 8, 3)))["make_model"]()
    arrays = arrays_of(network, to)
    weights = [a if to == "keras" else a.transpose(*range(2, a.ndim), 1, 0) for a in arrays if a.ndim > 1]
    for place, weight in enumerate(weights):
        fan_in, fan_out = math.prod(weight.shape[:-1]), weight.shape[-1]
        variance = 2 / (fan_in + fan_out if isinstance(model, Dense) else fan_in)
        expected = (model.output_scale if place == len(weights) - 1 else model.scale) * math.sqrt(variance)
        assert abs(np.sqrt(np.mean(np.square(weight))) / expected - 1) < 5 / np.sqrt(2 * weight.size)
    assert {float(n) for array in arrays if array.ndim == 1 for n in array} <= {0.0, 1.0}


def test_flips_and_crops_are_drawn_as_told() -> None:
    """The NumPy form, for PyTorch and Keras: every image is a shifted copy, mirrored about half of the time."""
    names = executed(code_for(recipe(augmentation=FlipCrop(crop=1)), "torch", shape=(4, 4, 1)))
    image = np.arange(1.0, 17).reshape(4, 4, 1)
    padded = [np.pad(one, ((1, 1), (1, 1), (0, 0))) for one in (image, image[:, ::-1])]
    known = [one[i : i + 4, j : j + 4].tobytes() for one in padded for i in range(3) for j in range(3)]
    changed = names["augment"](np.repeat(image[None], 900, 0), np.random.default_rng(0))
    counts = [sum(one.tobytes() == each for one in changed) for each in known]
    assert sum(counts) == 900
    assert min(counts) > 20  # 50 are expected; 20 or fewer of a binomial count have probability 1e-6
