"""Models to export: drawn, not trained, and every number in them away from its neutral value."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import thalweg as tw
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.fitted import FittedModel
from thalweg.models import Convolutional, Dense

__all__ = ["ACTIVATIONS", "HOSTILE", "NETWORKS", "SHAPE", "close", "drawn", "examples"]

# No two axes are of one size, so that none can be exchanged unseen.
SHAPE = (8, 10, 3)
NETWORKS = {
    "max": Convolutional(width=4, blocks=(1, 2), pooling="max", stochastic_depth=0.4, dropout=0.2, epsilon=0.01),
    "average": Convolutional(width=4, blocks=(1, 1), pooling="average", batch_norm=False),
    "overlapping": Convolutional(width=4, blocks=(1, 1), pooling="fractional", ratio=1.4),
    "disjoint": Convolutional(width=4, blocks=(1, 1), pooling="fractional", ratio=1.4, overlapping=False),
}
ACTIVATIONS = {
    name: Dense((6, 4), activation=name, batch_norm=name != "tanh", dropout=0.5, epsilon=0.01)
    for name in ("relu", "tanh", "sigmoid", "gelu", "silu")
}

# Text that would end a literal, a comment or a line, or hides what it says.
HOSTILE = (
    '"""\nimport os; os.abort()\n"""',
    "'); raise SystemExit(1); ('",
    "\\",
    "{classes}",
    "a\r\nb\tc",
    "Ähre\u202eerhÄ \u2028 \U0001f33e",
)


def drawn(
    model: Any,
    shape: tuple[int, ...],
    *,
    loss: Any = None,
    classes: tuple[str, ...] = ("cow", "ant", "bee"),
    preprocessing: str = "auto",
    features: Any = None,
    names: tuple[str, ...] | None = None,
) -> FittedModel:
    """A model with random parameters and running statistics, for uint8 images or float32 vectors."""
    recipe = tw.Recipe(model=model, loss=loss or tw.losses.Softmax(), features=features)
    train = examples(shape)
    learned = {} if features is None else features.fit(train)
    seen = train if features is None else features.transform(train, learned)
    generator = np.random.default_rng(1)

    def value(path: Any, leaf: Any) -> np.ndarray:
        """Biases start at 0 and norms at 1: an export that forgot them would not be seen."""
        name = str(path[-1])
        inputs = leaf.shape[1] if leaf.ndim == 2 else np.prod(leaf.shape[:-1])  # dense, or of a convolution
        noise = generator.normal(size=leaf.shape) * (0.3 if leaf.ndim < 2 else 1.5 / np.sqrt(inputs))
        return np.asarray(np.exp(noise) if "variance" in name or "norm_scale" in name else noise, np.float32)

    trees = jax.eval_shape(lambda: recipe.model.init(jax.random.key(0), seen.shape[1:], len(classes)))
    params, state = jax.tree_util.tree_map_with_path(value, trees)
    fitted = fit_preprocessing(seen, preprocessing)
    dtype = "uint8" if len(shape) == 3 else "float32"
    found = FittedModel(recipe, params, state, fitted, classes, shape, dtype, names, feature_state=learned)
    output = params.get("output", params) if isinstance(params, dict) else {}
    if "bias" in output:  # every class gets its turn
        output["bias"] = output["bias"] - found.scores(examples(shape, seed=1)).mean(axis=0)
    return found


def examples(shape: tuple[int, ...], count: int = 17, seed: int = 0) -> np.ndarray:
    """Images with smooth parts and edges, or vectors on several scales with a constant column."""
    generator = np.random.default_rng(seed)
    if len(shape) == 3:
        images = generator.integers(0, 256, (count, *shape)).astype(np.uint8)
        images[:, : shape[0] // 2] //= 4
        return images
    x = generator.normal(size=(count, *shape)) * np.linspace(0.5, 30, shape[0]) + np.linspace(-5, 9, shape[0])
    x[:, -1] = 3
    return x.astype(np.float32)


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Agreement relative to the scores' scale: float32 rounds at 6e-8, sums of some hundred products at 1e-6."""
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    scale = np.abs(expected).max()
    assert scale > 0.05  # else everything would agree
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
