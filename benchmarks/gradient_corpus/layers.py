"""Layers, losses and penalties with gradients by hand, right and wrong.

A layer's right gradient and its wrong ones stand in one function, so that each
differs from the right one in the planted line and nowhere else. The functions take
the array module first: NumPy's version is checked, JAX's gives the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Tree, family

RNG = np.random.default_rng(4)
EXAMPLES, FEATURES, CLASSES = 12, 5, 5  # as many classes as features: a transposed gradient has the right shape
INPUTS = RNG.normal(size=(EXAMPLES, FEATURES))
LABELS = RNG.integers(0, CLASSES, EXAMPLES)
ONE_HOT = np.eye(CLASSES)[LABELS]
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.0, 1.5, 0.8])[LABELS]
STRENGTH = 0.1


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def softmax(xp: Any, scores: Any) -> Any:
    exponentials = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(xp: Any, z: Any) -> Any:
    return 1 / (1 + xp.exp(-z))


# Linear classifiers


def softmax_loss(xp: Any, x: Tree) -> Any:
    """Mean weighted cross-entropy of a linear classifier plus L2 of its weights."""
    scores = INPUTS @ x["weights"].T + x["bias"]
    peak = scores.max(axis=1)
    normalizer = peak + xp.log(xp.exp(scores - peak[:, None]).sum(axis=1))
    losses = normalizer - (scores * ONE_HOT).sum(axis=1)
    return (CLASS_WEIGHTS * losses).mean() + STRENGTH * (x["weights"] ** 2).sum()


def softmax_gradient(x: Tree, bug: str = "") -> Tree:
    delta = softmax(np, INPUTS @ x["weights"].T + x["bias"])
    if bug != "one-hot not subtracted":
        labels = (LABELS + 1) % CLASSES if bug == "labels shifted by one" else LABELS
        delta = delta - np.eye(CLASSES)[labels]
    if bug != "class weights forgotten":
        delta = delta * CLASS_WEIGHTS[:, None]
    if bug != "batch sum instead of mean":
        delta = delta / EXAMPLES
    if bug == "divided by the batch twice":
        delta = delta / EXAMPLES
    weights, bias = delta.T @ INPUTS, delta.sum(axis=0)
    if bug == "data part transposed":
        weights = weights.T
    if bug == "bias forgotten":
        bias = np.zeros_like(bias)
    if bug == "bias of one example":
        bias = delta[0]
    if bug == "bias averaged once more":
        bias = delta.mean(axis=0)
    if bug == "bias repeated from its first entry":
        bias = np.full_like(bias, bias[0])
    if bug == "penalty without its factor 2":
        weights = weights + STRENGTH * x["weights"]
    elif bug != "penalty forgotten":
        weights = weights + 2 * STRENGTH * x["weights"]
    if bug == "penalty on the bias too":
        bias = bias + 2 * STRENGTH * x["bias"]
    if bug == "wrong sign":
        weights, bias = -weights, -bias
    return {"weights": weights, "bias": bias}


SOFTMAX_BUGS = (
    "one-hot not subtracted",
    "labels shifted by one",
    "class weights forgotten",
    "batch sum instead of mean",
    "divided by the batch twice",
    "data part transposed",
    "bias forgotten",
    "bias of one example",
    "bias averaged once more",
    "bias repeated from its first entry",
    "penalty without its factor 2",
    "penalty forgotten",
    "penalty on the bias too",
    "wrong sign",
)


def hinge_loss(xp: Any, weights: Any) -> Any:
    """Mean multiclass hinge over the wrong classes."""
    scores = INPUTS @ weights.T
    margins = xp.maximum(0, 1 + scores - (scores * ONE_HOT).sum(axis=1, keepdims=True)) * (1 - ONE_HOT)
    return margins.sum() / EXAMPLES


def hinge_gradient(weights: np.ndarray, bug: str = "") -> np.ndarray:
    scores = INPUTS @ weights.T
    own = scores[np.arange(EXAMPLES), LABELS][:, None]
    limit = 0.3 if bug == "margin of the mask wrong" else 0.0
    active = ((1 + scores - own > limit) & (ONE_HOT == 0)).astype(float)
    if bug == "true class counted once":
        active -= ONE_HOT
    elif bug != "true class forgotten":
        active -= ONE_HOT * active.sum(axis=1, keepdims=True)
    return active.T @ INPUTS / EXAMPLES


# Networks


def network_loss(xp: Any, x: Tree) -> Any:
    """Half the mean square of a sigmoid and a relu layer's outputs around targets."""
    hidden = sigmoid(xp, INPUTS @ x["first"]["weights"] + x["first"]["bias"])
    outputs = xp.maximum(hidden @ x["second"]["weights"] + x["second"]["bias"], 0)
    return 0.5 * ((outputs - TARGETS) ** 2).sum() / EXAMPLES


TARGETS = np.abs(normal(EXAMPLES, FEATURES))
NETWORK = {
    "first": {"weights": normal(FEATURES, FEATURES), "bias": normal(FEATURES)},
    "second": {"weights": normal(FEATURES, FEATURES), "bias": normal(FEATURES)},
}


def network_gradient(x: Tree, bug: str = "") -> Tree:
    hidden = sigmoid(np, INPUTS @ x["first"]["weights"] + x["first"]["bias"])
    before = hidden @ x["second"]["weights"] + x["second"]["bias"]
    delta = (np.maximum(before, 0) - TARGETS) / EXAMPLES
    if bug == "relu mask of another array":
        delta = delta * (INPUTS > 0)
    elif bug != "relu mask forgotten":
        delta = delta * (before > 0)
    second = {"weights": hidden.T @ delta, "bias": delta.sum(axis=0)}
    back = delta @ (
        x["second"]["weights"] if bug == "weights not transposed on the way back" else x["second"]["weights"].T
    )
    if bug == "sigmoid's derivative of its output":
        hidden = sigmoid(np, hidden)
    if bug != "sigmoid's derivative forgotten":
        back = back * hidden * (1 - hidden)
    first = {"weights": INPUTS.T @ back, "bias": back.sum(axis=0)}
    if bug == "factor 2 in one leaf of four":
        first["bias"] = 2 * first["bias"]
    return {"first": first, "second": second}


NETWORK_BUGS = (
    "relu mask of another array",
    "relu mask forgotten",
    "weights not transposed on the way back",
    "sigmoid's derivative of its output",
    "sigmoid's derivative forgotten",
    "factor 2 in one leaf of four",
)


def recurrent_loss(xp: Any, x: Tree) -> Any:
    """The last state of a tanh recurrence over six steps, weighted."""
    state = xp.zeros(4)
    for step in range(6):
        state = xp.tanh(x["recurrent"] @ state + x["input"] @ SEQUENCE[step])
    return (state * READ_OUT).sum()


SEQUENCE, READ_OUT = normal(6, 3), normal(4)
RECURRENT = {"recurrent": normal(4, 4) * 0.6, "input": normal(4, 3)}


def recurrent_gradient(x: Tree, bug: str = "") -> Tree:
    states = [np.zeros(4)]
    for step in range(6):
        states.append(np.tanh(x["recurrent"] @ states[-1] + x["input"] @ SEQUENCE[step]))
    recurrent, inputs = np.zeros((4, 4)), np.zeros((4, 3))
    delta = READ_OUT
    for step in reversed(range(6)):
        if bug == "backpropagation cut after three steps" and step < 3:
            break
        before = delta * (1 - states[step + 1] ** 2)
        previous = states[step + 1] if bug == "state of the wrong step" else states[step]
        recurrent += np.outer(before, previous)
        inputs += np.outer(before, SEQUENCE[step])
        delta = x["recurrent"].T @ before
    return {"recurrent": recurrent, "input": inputs}


# Images


def convolution_loss(xp: Any, x: Tree) -> Any:
    """A 3 × 3 cross-correlation of an image, squashed and weighted."""
    kernel, image = x["kernel"], x["image"]
    outputs = sum(kernel[i, j] * image[i : i + 6, j : j + 6] for i in range(3) for j in range(3))
    return (xp.tanh(outputs) * IMAGE_WEIGHTS).sum()


IMAGE_WEIGHTS = normal(6, 6)
CONVOLUTION = {"kernel": normal(3, 3) * 0.4, "image": normal(8, 8)}


def convolution_gradient(x: Tree, bug: str = "") -> Tree:
    kernel, image = x["kernel"], x["image"]
    outputs = sum(kernel[i, j] * image[i : i + 6, j : j + 6] for i in range(3) for j in range(3))
    delta = IMAGE_WEIGHTS * (1 - np.tanh(outputs) ** 2)
    back, to_image = np.zeros((3, 3)), np.zeros((8, 8))
    # Scattering with the kernel as it stands is the full convolution with the flipped kernel; the bug scatters flipped.
    scattered = kernel[::-1, ::-1] if bug == "kernel not flipped for the image" else kernel
    for i in range(3):
        for j in range(3):
            back[i, j] = (delta * image[i : i + 6, j : j + 6]).sum()
            to_image[i : i + 6, j : j + 6] += scattered[i, j] * delta
    if bug == "kernel's gradient flipped":
        back = back[::-1, ::-1]
    if bug == "border of the image left out":
        to_image[0] = to_image[-1] = 0
        to_image[:, 0] = to_image[:, -1] = 0
    return {"kernel": back, "image": to_image}


def pool_loss(xp: Any, image: Any) -> Any:
    """The weighted maxima of 2 × 2 windows."""
    return (image.reshape(4, 2, 4, 2).max(axis=(1, 3)) * POOL_WEIGHTS).sum()


POOL_WEIGHTS = normal(4, 4)


def pool_gradient(image: np.ndarray, bug: str = "") -> np.ndarray:
    windows = image.reshape(4, 2, 4, 2)
    if bug == "routed to the first entry":
        mask = np.zeros_like(windows)
        mask[:, 0, :, 0] = 1
    elif bug == "spread over the window":
        mask = np.full_like(windows, 0.25)
    elif bug == "routed to the smallest entry":
        mask = windows == windows.min(axis=(1, 3), keepdims=True)
    else:
        mask = windows == windows.max(axis=(1, 3), keepdims=True)
    if bug == "one window of 16 routed wrongly":
        mask[0, :, 0, :] = np.roll(mask[0, :, 0, :], 1)
    return (mask * POOL_WEIGHTS[:, None, :, None]).reshape(8, 8)


# Normalisation


def batch_norm_loss(xp: Any, x: Tree) -> Any:
    """Batch normalisation with scale and shift, squashed and weighted."""
    centred = x["inputs"] - x["inputs"].mean(axis=0)
    normed = centred / xp.sqrt((centred**2).mean(axis=0) + 1e-5)
    return (xp.tanh(x["scale"] * normed + x["shift"]) * NORM_WEIGHTS).sum()


NORM_WEIGHTS = normal(7, 6)
NORM = {"inputs": normal(7, 6) * 2 + 1, "scale": normal(6), "shift": normal(6)}


def normalize_back(delta: np.ndarray, normed: np.ndarray, deviation: np.ndarray, axis: int, bug: str) -> np.ndarray:
    """Carry a gradient back through the subtraction of the mean and the division by the deviation."""
    back = delta
    if bug != "mean taken as constant" and bug != "mean and variance taken as constants":
        back = back - delta.mean(axis=1 - axis if bug == "mean along the wrong axis" else axis, keepdims=True)
    if bug != "variance taken as constant" and bug != "mean and variance taken as constants":
        count = delta.shape[axis]
        divisor = count - 1 if bug == "N − 1 instead of N" else count
        back = back - normed * (delta * normed).sum(axis=axis, keepdims=True) / divisor
    return back / deviation


def batch_norm_gradient(x: Tree, bug: str = "") -> Tree:
    centred = x["inputs"] - x["inputs"].mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    normed = centred / deviation
    delta = NORM_WEIGHTS * (1 - np.tanh(x["scale"] * normed + x["shift"]) ** 2)
    scale = (delta * (centred if bug == "scale from inputs not divided" else normed)).sum(axis=0)
    inputs = normalize_back(delta * x["scale"], normed, deviation, 0, bug)
    return {"inputs": inputs, "scale": scale, "shift": delta.sum(axis=0)}


def layer_norm_loss(xp: Any, inputs: Any) -> Any:
    """Layer normalisation, squashed and weighted."""
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    normed = centred / xp.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return (xp.tanh(normed) * NORM_WEIGHTS).sum()


def layer_norm_gradient(inputs: np.ndarray, bug: str = "") -> np.ndarray:
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    normed = centred / deviation
    return normalize_back(NORM_WEIGHTS * (1 - np.tanh(normed) ** 2), normed, deviation, 1, bug)


def dropout_loss(xp: Any, x: Any) -> Any:
    """Dropout with a mask that is fixed, then log cosh."""
    return xp.log(xp.cosh(x * DROPOUT / 0.7)).sum()


DROPOUT = RNG.uniform(size=40) < 0.7


def dropout_gradient(x: np.ndarray, bug: str = "") -> np.ndarray:
    back = np.tanh(x * DROPOUT / 0.7)
    if bug == "another mask on the way back":
        return np.tanh(x / 0.7) * DROPOUT[::-1] / 0.7
    if bug == "mask on the way forward only":
        return np.tanh(x / 0.7) / 0.7
    return back * DROPOUT / (1 if bug == "scale on the way forward only" else 0.7)


# Attention and embeddings


def attention_loss(xp: Any, x: Tree) -> Any:
    """Causal attention of one head, weighted."""
    scores = xp.where(CAUSAL, x["queries"] @ x["keys"].T / 2, -1e9)
    return ((softmax(xp, scores) @ x["values"]) * ATTENTION_WEIGHTS).sum()


CAUSAL = np.tril(np.ones((4, 4), bool))
ATTENTION_WEIGHTS = normal(4, 4)
ATTENTION = {"queries": normal(4, 4), "keys": normal(4, 4), "values": normal(4, 4)}


def attention_gradient(x: Tree, bug: str = "") -> Tree:
    scores = x["queries"] @ x["keys"].T / 2
    weights = softmax(np, scores if bug == "causal mask forgotten" else np.where(CAUSAL, scores, -1e9))
    back = ATTENTION_WEIGHTS @ x["values"].T
    if bug != "softmax's mean not subtracted":
        back = back - (weights * back).sum(axis=1, keepdims=True)
    delta = weights * back
    if bug != "1/√d forgotten":
        delta = delta / 2
    queries, keys = delta @ x["keys"], delta.T @ x["queries"]
    if bug == "queries and keys swapped":
        queries, keys = keys, queries
    if bug == "keys from the scores not transposed":
        keys = delta @ x["queries"]
    values = weights @ ATTENTION_WEIGHTS if bug == "values not transposed" else weights.T @ ATTENTION_WEIGHTS
    return {"queries": queries, "keys": keys, "values": values}


def embedding_loss(xp: Any, rows: Any) -> Any:
    """Rows looked up, some of them several times."""
    return (xp.sin(rows[TOKENS]) * TOKEN_WEIGHTS).sum()


TOKENS = np.array([3, 1, 3, 0, 5, 3, 1])
TOKEN_WEIGHTS = normal(7, 3)


def embedding_gradient(rows: np.ndarray, bug: str = "") -> np.ndarray:
    back = np.zeros_like(rows)
    values = np.cos(rows[TOKENS]) * TOKEN_WEIGHTS
    if bug == "repeated rows overwritten, not added":
        back[TOKENS] = values
    else:
        np.add.at(back, TOKENS, values)
    return back


# Losses of a vector


def gaussian_loss(xp: Any, x: Tree) -> Any:
    """Negative log-likelihood of targets under a predicted mean and log variance."""
    return 0.5 * (x["log_variance"] + (x["mean"] - READ_OUT) ** 2 * xp.exp(-x["log_variance"])).sum()


def gaussian_gradient(x: Tree, bug: str = "") -> Tree:
    error, precision = x["mean"] - READ_OUT, np.exp(-x["log_variance"])
    constant = 0.0 if bug == "log-variance term missing" else 0.5
    mean = error if bug == "precision forgotten in the mean" else error * precision
    return {"mean": mean, "log_variance": constant - 0.5 * error**2 * precision}


def huber_loss(xp: Any, x: Any) -> Any:
    return xp.where(xp.abs(x) < 1, 0.5 * x**2, xp.abs(x) - 0.5).sum()


def huber_gradient(x: np.ndarray, bug: str = "") -> np.ndarray:
    outside = np.ones_like(x) if bug == "wrong for negative inputs, outside" else np.sign(x)
    return np.where(np.abs(x) < (2 if bug == "threshold 2 instead of 1" else 1), x, outside)


def cosine_loss(xp: Any, x: Any) -> Any:
    """Cosine of the angle to a fixed direction."""
    return (x @ DIRECTION) / xp.sqrt(x @ x) / np.sqrt(DIRECTION @ DIRECTION)


DIRECTION = normal(30)


def cosine_gradient(x: np.ndarray, bug: str = "") -> np.ndarray:
    length, unit = np.sqrt(x @ x), DIRECTION / np.sqrt(DIRECTION @ DIRECTION)
    return unit / length - (0 if bug == "norm taken as constant" else (x @ unit) * x / length**3)


def variation_loss(xp: Any, image: Any) -> Any:
    """Smoothed total variation of an image along both axes."""
    down, across = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    return xp.sqrt(down**2 + 0.01).sum() + xp.sqrt(across**2 + 0.01).sum()


def variation_gradient(image: np.ndarray, bug: str = "") -> np.ndarray:
    down, across = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    down, across = down / np.sqrt(down**2 + 0.01), across / np.sqrt(across**2 + 0.01)
    back = np.zeros_like(image)
    back[1:] += down
    back[:-1] -= down
    back[:, 1:] += across
    back[:, :-1] -= across
    if bug == "one axis forgotten":
        back[:, 1:] -= across
        back[:, :-1] += across
    if bug == "wraps around at the border":
        back[0] += (image[0] - image[-1]) / np.sqrt((image[0] - image[-1]) ** 2 + 0.01)
    return back


# Linear algebra


def form_loss(xp: Any, x: Any) -> Any:
    """A quadratic form of a matrix that is not symmetric."""
    return x @ MATRIX @ x


MATRIX = normal(6, 6) + 4 * np.eye(6)


def form_gradient(x: np.ndarray, bug: str = "") -> np.ndarray:
    return 2 * MATRIX @ x if bug == "matrix taken as symmetric" else (MATRIX + MATRIX.T) @ x


def determinant_loss(xp: Any, matrix: Any) -> Any:
    """The logarithm of a determinant."""
    return xp.linalg.slogdet(matrix)[1]


def determinant_gradient(matrix: np.ndarray, bug: str = "") -> np.ndarray:
    inverse = np.linalg.inv(matrix)
    return inverse if bug == "inverse not transposed" else inverse.T


def solve_loss(xp: Any, x: Tree) -> Any:
    """A reading of a linear system's solution."""
    return READING @ xp.linalg.solve(x["matrix"], x["right"])


READING = normal(6)


def solve_gradient(x: Tree, bug: str = "") -> Tree:
    matrix = x["matrix"]
    solution = np.linalg.solve(matrix, x["right"])
    adjoint = np.linalg.solve(matrix if bug == "adjoint not transposed" else matrix.T, READING)
    sign = 1 if bug == "wrong sign in one leaf" else -1
    return {"matrix": sign * np.outer(adjoint, solution), "right": adjoint}


def cases() -> list[Case]:
    """Return every layer's correct case and its bugs."""
    classifier = {"weights": normal(CLASSES, FEATURES), "bias": normal(CLASSES)}
    constants = ("mean and variance taken as constants", "variance taken as constant", "mean taken as constant")
    return [
        *family("softmax classifier", softmax_loss, softmax_gradient, classifier, SOFTMAX_BUGS),
        *family(
            "hinge classifier",
            hinge_loss,
            hinge_gradient,
            normal(CLASSES, FEATURES),
            ("true class forgotten", "true class counted once", "margin of the mask wrong"),
        ),
        *family("two layers", network_loss, network_gradient, NETWORK, NETWORK_BUGS),
        *family(
            "recurrence",
            recurrent_loss,
            recurrent_gradient,
            RECURRENT,
            ("backpropagation cut after three steps", "state of the wrong step"),
        ),
        *family(
            "convolution",
            convolution_loss,
            convolution_gradient,
            CONVOLUTION,
            ("kernel not flipped for the image", "kernel's gradient flipped", "border of the image left out"),
        ),
        *family(
            "max-pool",
            pool_loss,
            pool_gradient,
            normal(8, 8),
            (
                "routed to the first entry",
                "spread over the window",
                "routed to the smallest entry",
                "one window of 16 routed wrongly",
            ),
        ),
        *family(
            "batch norm",
            batch_norm_loss,
            batch_norm_gradient,
            NORM,
            (*constants, "N − 1 instead of N", "scale from inputs not divided"),
        ),
        *family(
            "layer norm",
            layer_norm_loss,
            layer_norm_gradient,
            normal(7, 6),
            (*constants, "mean along the wrong axis"),
        ),
        *family(
            "dropout",
            dropout_loss,
            dropout_gradient,
            normal(40),
            ("mask on the way forward only", "scale on the way forward only", "another mask on the way back"),
        ),
        *family(
            "attention",
            attention_loss,
            attention_gradient,
            ATTENTION,
            (
                "1/√d forgotten",
                "softmax's mean not subtracted",
                "causal mask forgotten",
                "queries and keys swapped",
                "keys from the scores not transposed",
                "values not transposed",
            ),
        ),
        *family(
            "embedding", embedding_loss, embedding_gradient, normal(8, 3), ("repeated rows overwritten, not added",)
        ),
        *family(
            "Gaussian likelihood",
            gaussian_loss,
            gaussian_gradient,
            {"mean": normal(4), "log_variance": normal(4)},
            ("log-variance term missing", "precision forgotten in the mean"),
        ),
        *family(
            "Huber",
            huber_loss,
            huber_gradient,
            normal(50) * 2,
            ("wrong for negative inputs, outside", "threshold 2 instead of 1"),
        ),
        *family("cosine", cosine_loss, cosine_gradient, normal(30), ("norm taken as constant",)),
        *family(
            "total variation",
            variation_loss,
            variation_gradient,
            normal(6, 6),
            ("one axis forgotten", "wraps around at the border"),
        ),
        *family("quadratic form", form_loss, form_gradient, normal(6), ("matrix taken as symmetric",)),
        *family("log determinant", determinant_loss, determinant_gradient, MATRIX, ("inverse not transposed",)),
        *family(
            "linear system",
            solve_loss,
            solve_gradient,
            {"matrix": MATRIX, "right": normal(6)},
            ("adjoint not transposed", "wrong sign in one leaf"),
        ),
    ]
