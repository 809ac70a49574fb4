"""The gradient check as an assertion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.gradients import gradcheck, gradgradcheck

__all__ = ["assert_gradient"]


def assert_gradient(
    f: Callable[[Any], Any],
    x: Any,
    gradient: Any = None,
    *,
    second: bool = False,
    hessian: Any = None,
    allow_inconclusive: bool = False,
    **options: Any,
) -> None:
    """Raise an AssertionError with the verdict unless the gradient of f at x passes `thalweg.gradcheck`.

    Parameters
    ----------
    f, x, gradient
        As for `thalweg.gradcheck`; without ``gradient`` it is JAX's or PyTorch's.
    second
        Check the second derivatives too, by `thalweg.gradgradcheck`.
    hessian
        As for `thalweg.gradgradcheck`, where the second derivatives are written by hand; implies ``second``.
    allow_inconclusive
        Let an inconclusive verdict through. By default it raises: a test should show something.
    options
        Further ones of `thalweg.gradcheck`: rtol, atol, every, directions, seed, plant.

    def test_my_loss():
        thalweg.testing.assert_gradient(loss, point, loss_gradient)
    """
    __tracebackhide__ = True  # pytest then shows the test's line and the verdict
    verdicts = [gradcheck(f, x, gradient, **options)]
    if second or hessian is not None:
        verdicts.append(gradgradcheck(f, x, gradient, hessian, **options))
    for verdict in verdicts:
        if verdict.status == "fail" or (verdict.status == "inconclusive" and not allow_inconclusive):
            raise AssertionError(str(verdict))
