"""Data sets that need no file."""

from __future__ import annotations

import numpy as np

from thalweg.data.dataset import Dataset, Split

__all__ = ["BUILTIN", "read_digits"]


def read_digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn: 8 × 8 images, float32 values 0 to 16.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository (1998), its test part.
    """
    from sklearn.datasets import load_digits  # half a second to import: only who asks for it waits

    bunch = load_digits()
    images = bunch.images.astype(np.float32)[..., np.newaxis]
    train = Split(images, bunch.target.astype(np.int32))
    return Dataset("digits", "built in: scikit-learn's handwritten digits", train, tuple(map(str, range(10))))


BUILTIN = {"digits": read_digits}
