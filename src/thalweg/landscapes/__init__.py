"""Landscapes: functions of two numbers with exact gradients and Hessians, to see optimisers by.

>>> from thalweg import landscapes
>>> landscapes.Himmelblau().gradient([3.0, 2.0])
array([0., 0.])
"""

from thalweg.landscapes.base import Landscape
from thalweg.landscapes.basins import basins
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
from thalweg.landscapes.racing import race
from thalweg.landscapes.records import BasinMap, Race, StabilityMap
from thalweg.landscapes.stability import spectral_radius, stability, stability_boundary
from thalweg.landscapes.starts import random_starts, usual_start
from thalweg.landscapes.tuning import RATES, race_tuned
from thalweg.landscapes.wrapped import Function, Noisy

__all__ = [
    "RATES",
    "BasinMap",
    "Beale",
    "Function",
    "Hill",
    "Himmelblau",
    "Landscape",
    "MonkeySaddle",
    "Noisy",
    "Quadratic",
    "Race",
    "Rastrigin",
    "Rosenbrock",
    "Saddle",
    "StabilityMap",
    "basins",
    "race",
    "race_tuned",
    "random_starts",
    "spectral_radius",
    "stability",
    "stability_boundary",
    "usual_start",
]
