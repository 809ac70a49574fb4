"""Landscapes: functions of two numbers with exact gradients and Hessians, to see optimisers by.

>>> from thalweg import landscapes
>>> landscapes.Himmelblau().gradient([3.0, 2.0])
array([0., 0.])
"""

from thalweg.landscapes.base import Landscape
from thalweg.landscapes.functions import (
    Beale,
    Hill,
    Himmelblau,
    MonkeySaddle,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
)

__all__ = [
    "Beale",
    "Hill",
    "Himmelblau",
    "Landscape",
    "MonkeySaddle",
    "Quadratic",
    "Rastrigin",
    "Rosenbrock",
    "Saddle",
]
