"""Known mistakes, recognised by the ratio and the pattern of wrong entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.gradients.space import Leaf

__all__ = ["recognise"]

_CLOSE = 1e-3  # relative: as one number, within what the bars allow
_SIDES = 4  # wrong and right ones, for the sign of x to be the cause
_LEAST = 3  # entries that a pattern must explain


def recognise(
    leaf: Leaf, x: np.ndarray, where: np.ndarray, analytic: np.ndarray, numeric: np.ndarray, error: np.ndarray,
    sizes: Sequence[int],
) -> list[str]:  # fmt: skip
    """Say what the entries ``where`` (k,) of a leaf look like, if the evidence is clear.

    ``x`` is the leaf's entries (k,), ``sizes`` are lengths that a mean could have been taken over.
    """
    wrong = np.abs(analytic - numeric) > 3 * error + 1e-6 * np.maximum(np.abs(analytic), np.abs(numeric))
    if not wrong.any():
        return []
    found = _ratio(leaf, analytic[wrong], numeric[wrong], error[wrong], bool(wrong.all()), sizes)
    found = found or _transposed(leaf, where, analytic, numeric, error)
    found = found or _penalty(leaf, x[wrong], (numeric - analytic)[wrong], error[wrong])
    only = _only(leaf, x, wrong)
    return ([found] if found else []) + ([only] if only else [])


def _ratio(leaf: Leaf, a: np.ndarray, n: np.ndarray, error: np.ndarray, every: bool, sizes: Sequence[int]) -> str:
    clear = np.abs(n) > 100 * error
    if not clear.any():
        return ""
    alone = np.count_nonzero(clear) == 1 and leaf.size > 1
    a, n = a[clear], n[clear]
    if np.all(a == 0):
        return (
            f"the gradient of x{leaf.name} is 0 throughout: forgotten?"
            if every and len(a) > 1
            else ("a gradient of 0 where f changes: masked out, or forgotten")
        )
    ratio = a / n
    middle = float(np.median(ratio))
    if np.any(np.abs(ratio - middle) > _CLOSE * abs(middle)) or abs(middle) > 1e7 or abs(middle) < 1e-7:
        return ""
    if np.ptp(ratio) > 0.1 * abs(middle - 1):  # nearly 1, and not one number
        return ""
    return "" if alone and not _is_usual(middle) else _named(middle, sizes)


def _is_usual(ratio: float) -> bool:
    """True for a ratio that is a known mistake even in a single entry."""
    return any(abs(ratio - usual) <= _CLOSE * abs(usual) for usual in (-1.0, 2.0, 0.5))


def _named(ratio: float, sizes: Sequence[int]) -> str:
    """Put a constant ratio of analytic to numeric into words."""
    sign = "sign flipped" if ratio < 0 else ""
    size = abs(ratio)
    if abs(size - 1) <= _CLOSE:
        return sign or f"a constant factor of {ratio:.6g}"
    whole, part = round(size), round(1 / size)
    if abs(size - whole) <= _CLOSE * size and whole >= 2:
        text = f"a factor of {whole} too large" + (
            f": a sum over {whole} where f takes the mean" if whole in sizes and whole > 2 else ""
        )
    elif abs(1 / size - part) <= _CLOSE / size and part >= 2:
        text = f"a factor of 1/{part}" + (
            f": a mean over {part} where f takes the sum" if part in sizes and part > 2 else ""
        )
        text += ": the 2 of a square forgotten?" if part == 2 else ""
    else:
        text = f"a constant factor of {size:.6g}"
    return f"{sign}, and {text}" if sign else text


def _transposed(leaf: Leaf, where: np.ndarray, a: np.ndarray, n: np.ndarray, error: np.ndarray) -> str:
    if len(leaf.shape) < 2:
        return ""
    if leaf.shape[-1] == leaf.shape[-2]:
        place = {int(index): i for i, index in enumerate(where)}
        pairs = []
        for i, index in enumerate(where):
            spot = list(np.unravel_index(int(index), leaf.shape))
            spot[-1], spot[-2] = spot[-2], spot[-1]
            mirror = place.get(int(np.ravel_multi_index(spot, leaf.shape)))
            if mirror is not None and mirror != i:
                pairs.append((i, mirror))
        if len(pairs) >= 2 * _LEAST or (leaf.size == 4 and pairs):
            one, two = np.array(pairs).T
            bars = error[two] + _CLOSE * np.maximum(np.abs(a[one]), np.abs(n[two]))
            if np.all(np.abs(a[one] - n[two]) <= bars):
                return f"the gradient of x{leaf.name} is transposed"
    return ""


def _penalty(leaf: Leaf, x: np.ndarray, missing: np.ndarray, error: np.ndarray) -> str:
    """Recognise what is missing as a multiple of x (L2) or of its signs (L1)."""
    penalties = ((x, "x: the gradient of an L2 penalty"), (np.sign(x), "sign(x): the gradient of an L1 penalty"))
    for values, words in penalties:
        usable = (np.abs(values) > 0) & (np.abs(missing) > 30 * error)
        if np.count_nonzero(usable) < _LEAST or len(np.unique(values[usable])) < 2:
            continue
        factor = missing[usable] / values[usable]
        middle = float(np.median(factor))
        if np.all(np.abs(factor - middle) <= 30 * _CLOSE * abs(middle)):
            kind = "is missing, all or in part" if middle > 0 else "is in it twice, or by mistake"
            return f"off by {abs(middle):.4g} × {words} {kind}"
    return ""


def _only(leaf: Leaf, x: np.ndarray, wrong: np.ndarray) -> str:
    right = ~wrong
    if np.count_nonzero(wrong) < _SIDES or np.count_nonzero(right) < _SIDES:
        return ""
    if np.all(x[wrong] < 0) and np.all(x[right] >= 0):
        return f"wrong only where x{leaf.name} is negative"
    if np.all(x[wrong] > 0) and np.all(x[right] <= 0):
        return f"wrong only where x{leaf.name} is positive"
    return ""
