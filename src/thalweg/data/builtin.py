"""Data sets that need no file."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from thalweg.data import toy
from thalweg.data.dataset import Dataset, Split

__all__ = ["BUILTIN", "read_digits"]


def read_digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn: 8 × 8 images, float32 values 0 to 16.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository (1998), its test part.
    """
    pixels, labels = _digits()
    train = Split(pixels.astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32))
    return Dataset("digits", "built in: scikit-learn's handwritten digits", train, tuple(map(str, range(10))))


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 64) and labels (N,).

    Importing scikit-learn's loader takes two seconds, reading the file that it reads 20 ms; the loader serves where
    a version keeps the file elsewhere.
    """
    found = find_spec("sklearn")
    folders = (found.submodule_search_locations or []) if found is not None else []
    file = next((path for folder in folders if (path := Path(folder, "datasets/data/digits.csv.gz")).exists()), None)
    if file is not None:
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data, bunch.target


BUILTIN: dict[str, Callable[[], Dataset]] = {
    "digits": read_digits,
    "rings": toy.rings,
    "xor": toy.xor,
    "modes": toy.modes,
    "polynomial": toy.polynomial,
}
