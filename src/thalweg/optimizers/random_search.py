"""Random search: the optimizer that every other one has to beat."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from thalweg.fields import Number, check_integer, check_number

__all__ = ["RandomSearch"]


class RandomSearch(eqx.Module):
    """Draw weights scale · N(0, 1), and keep the best.

    It uses no gradient and takes no steps: the training program scores all
    candidates in one matrix product, and keeps the one with the least objective
    on all training examples, data loss plus penalty. (So a penalty with a kink,
    such as L1, is scored as it stands; there is no proximal step.) On CIFAR-10's
    raw pixels the best of 1,000 classifies about 15.5 % of the test images.

    Arguments:
        candidates: how many weights are drawn in each epoch. The best over all
            epochs is kept, so a training tries epochs · candidates weights; the
            best of more is better, slowly.
        scale: standard deviation of each weight; 1e-4 keeps softmax scores of
            standardised images near 0.
    """

    candidates: Any = eqx.field(default=1000, static=True)
    scale: Number = 1e-4

    def __check_init__(self) -> None:
        check_integer("RandomSearch", "candidates", self.candidates, least=1)
        check_number("RandomSearch", "scale", self.scale, above=0.0)
