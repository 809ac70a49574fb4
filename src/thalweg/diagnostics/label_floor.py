"""Do predictions contradict labels at a rate that being surer does not lower?"""

from __future__ import annotations

import numpy as np

__all__ = ["floor_evidence"]

_SPREAD = 2.0  # of the classes' intercepts about their mean (a normal prior), so that rare predictions borrow from all


def floor_evidence(lead: np.ndarray, best: np.ndarray, wrong: np.ndarray) -> float:
    """Return 2 ln(L₁ / L₀), how much likelier a floor ε > 0 makes the contradictions than none.

    The model is P(wrong | lead) = ε + (1 − ε) / (1 + exp(a_k + b lead)) with b ≥ 0 and an intercept a_k for each
    predicted class k; L₀ has ε = 0 (Platt scaling; of two Gaussian classes it is exact), L₁ the best ε in [0, ½].
    Overlapping classes are contradicted less and less as the lead grows, wrong labels alike at every lead.

    Arguments:
        lead: (N,) of the first class over the second.
        best: (N,) the predicted classes.
        wrong: (N,) whether the label is another one.
    """
    from scipy.optimize import minimize  # half a second to import

    _, own = np.unique(best, return_inverse=True)
    classes = int(own.max()) + 1
    args = (lead, own, np.asarray(wrong, np.float64))
    free = [(None, None)] * classes + [(0.0, None)]
    start = np.r_[np.ones(classes), 4.0]

    def fit(begin: np.ndarray, floor: float, most: float) -> tuple[float, np.ndarray]:
        found = minimize(_loss, np.r_[begin, floor], args, jac=True, method="L-BFGS-B", bounds=[*free, (0.0, most)])
        return float(found.fun), found.x[:-1]

    plain, at = fit(start, 0.0, 0.0)
    # Two starts, since the likelihood with a floor is not concave: near the plain fit, and a steep curve on a floor.
    steep = np.r_[-np.ones(classes), 10.0]
    floored = min(fit(at, 0.01, 0.5)[0], fit(steep, 0.05, 0.5)[0])
    return max(0.0, 2 * (plain - floored))


def _loss(point: np.ndarray, lead: np.ndarray, own: np.ndarray, wrong: np.ndarray) -> tuple[float, np.ndarray]:
    """Return −ln of the likelihood and prior, and its gradient."""
    from scipy.special import expit

    a, b, floor = point[:-2], point[-2], point[-1]
    share = expit(-(a[own] + b * lead))
    chance = np.clip(floor + (1 - floor) * share, 1e-12, 1 - 1e-12)
    away = a - a.mean()
    loss = -np.sum(wrong * np.log(chance) + (1 - wrong) * np.log1p(-chance)) + np.sum(away**2) / (2 * _SPREAD**2)
    by_chance = (1 - wrong) / (1 - chance) - wrong / chance
    inner = -by_chance * (1 - floor) * share * (1 - share)
    by_a = np.bincount(own, inner, minlength=len(a)) + away / _SPREAD**2
    return float(loss), np.r_[by_a, np.sum(inner * lead), np.sum(by_chance * (1 - share))]
