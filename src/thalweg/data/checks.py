"""Checks and conversions that all readers share: errors, memory, finite numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from thalweg.data.dataset import CHUNK_BYTES
from thalweg.errors import DataError, ThalwegError

__all__ = ["as_features", "check_finite", "check_memory", "read_exactly", "reading"]


@contextmanager
def reading(where: str | Path, remedy: str = "it may be damaged: make or fetch it again") -> Iterator[None]:
    """Turn whatever a decoder raises on bad content into a DataError that names the file.

    Pillow, tarfile, zipfile, NumPy and pyarrow raise a dozen unrelated classes on damaged bytes (OSError, EOFError,
    SyntaxError, struct.error, ...), so every Exception is caught. Put only calls into such a library inside.
    """
    try:
        yield
    except ThalwegError:
        raise
    except MemoryError as error:
        raise DataError(f"{where}: it does not fit into memory ({error or 'allocation failed'})") from error
    except OSError as error:
        if error.strerror:
            raise DataError(f"{where}: cannot be read: {error.strerror}") from error
        raise DataError(f"{where}: cannot be read ({error}); {remedy}") from error
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        raise DataError(f"{where}: cannot be read ({text}); {remedy}") from error


def check_memory(where: str | Path, needed: int, remedy: str) -> None:
    """Raise a DataError where an array of `needed` bytes exceeds the machine's memory.

    A few bytes of damaged or hostile header can ask for any size, and Linux grants it until the pages are touched.
    """
    if not hasattr(os, "sysconf"):  # Windows refuses by itself what it cannot grant
        return
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > physical:
        raise DataError(
            f"{where}: its arrays need {needed / 2**30:,.1f} GiB, this machine has {physical / 2**30:,.1f}; {remedy}"
        )


def read_exactly(stream: IO[bytes], count: int, where: str | Path) -> np.ndarray:
    """Return the next `count` bytes of a stream as a uint8 array, or raise where the stream ends before."""
    check_memory(where, count, "save it as .npy, which is read in place")
    data = np.empty(count, np.uint8)
    done = 0
    while done < count:
        piece = stream.read(min(2**20, count - done))
        if not piece:
            raise DataError(f"{where}: is truncated: it ends after {done:,} of {count:,} bytes; make or fetch it again")
        data[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    return data


def as_features(array: Any, where: str, feature_names: Sequence[str] | None = None) -> np.ndarray:
    """Return features as uint8 or float32 of shape (N, D) or (N, height, width, channels), checked to be finite.

    uint8 and float32 stay what they are, memory-mapped arrays included; other numbers become float32. (N, height,
    width) gains one channel.
    """
    features = _as_numbers(array, where)
    if features.ndim == 1:
        raise DataError(f"{where}: features have shape {features.shape}; give (N, D): one row an example")
    if features.ndim == 3:
        features = features[..., np.newaxis]
    if features.ndim not in (2, 4):
        raise DataError(f"{where}: features have shape {features.shape}; give (N, D) or (N, height, width, channels)")
    if 0 in features.shape:
        raise DataError(f"{where}: features have shape {features.shape}: there is nothing in them")
    if features.ndim == 4 and features.shape[1] in (1, 3) and features.shape[3] > 4:
        raise DataError(
            f"{where}: images of shape {features.shape[1:]} have their channels first; "
            "put them last: X.transpose(0, 2, 3, 1)"
        )
    if features.dtype != np.uint8:
        features = _as_float32(features, where, feature_names)
    return features


def _as_numbers(array: Any, where: str) -> np.ndarray:
    if hasattr(array, "toarray"):
        raise DataError(f"{where}: features are a sparse matrix; give a dense one: X.toarray()")
    with reading(where, "give a rectangular array of numbers"):
        features = array if isinstance(array, np.ndarray) else np.asarray(array)
    if features.dtype.kind not in "buif":
        kind = "Python objects" if features.dtype == object else str(features.dtype)
        raise DataError(f"{where}: features are {kind} of shape {features.shape}; give a rectangular array of numbers")
    return features


def _as_float32(features: np.ndarray, where: str, feature_names: Sequence[str] | None) -> np.ndarray:
    if features.dtype == np.float32 and features.dtype.isnative:
        check_finite(features, where, feature_names)
        return features
    check_memory(where, 4 * features.size, "save them as float32 .npy, which is read in place")
    result = np.empty(features.shape, np.float32)
    for rows in _row_slices(features):
        with np.errstate(over="ignore"):
            result[rows] = features[rows]
    check_finite(result, where, feature_names, original=features)
    return result


def _row_slices(array: np.ndarray) -> Iterator[slice]:
    """Slices of some 16 MiB: neither a second copy nor a mask of full size is made of an array on disk."""
    step = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    return (slice(start, start + step) for start in range(0, len(array), step))


def check_finite(
    features: np.ndarray, where: str, feature_names: Sequence[str] | None = None, original: np.ndarray | None = None
) -> None:
    """Raise a DataError that counts the NaN and infinite entries of float32 features and names the first.

    `original` is what the features were converted from: a finite number there overflowed.
    """
    first: tuple[int, int] | None = None
    count = 0
    for rows in _row_slices(features):
        # A float64 sum of float32 numbers cannot overflow, so it is finite exactly where all entries are.
        with np.errstate(invalid="ignore"):
            if np.isfinite(features[rows].sum(dtype=np.float64)):
                continue
        bad = ~np.isfinite(features[rows].reshape(len(features[rows]), -1))
        count += int(bad.sum())
        if first is None:
            row, column = (int(i) for i in np.argwhere(bad)[0])
            first = rows.start + row, column
    if first is None:
        return
    row, column = first
    value = (features if original is None else original)[row].reshape(-1)[column]
    name = f" ({feature_names[column]})" if feature_names is not None else ""
    raise DataError(
        f"{where}: {count} entries are not finite in float32; the first is {value} in row {row}, feature {column}"
        f"{name}, counted from 0. Fill or drop them first"
    )
