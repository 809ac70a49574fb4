"""Solvers take a whole full-batch problem to its optimum, and say how near they came.

`solve` and what stands beside it fit linear classifiers, many at once, each to a
certified optimum; `LBFGS`, `BFGS` and `Newton` minimise any smooth JAX function.
"""

from thalweg.solvers.bfgs import BFGS
from thalweg.solvers.certificate import Certificate, certify
from thalweg.solvers.lbfgs import LBFGS
from thalweg.solvers.newton import Newton
from thalweg.solvers.optima import Optima
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import STATUSES, Solution
from thalweg.solvers.solve import solve
from thalweg.solvers.spectrum import Spectrum, decompose

__all__ = [
    "BFGS",
    "LBFGS",
    "STATUSES",
    "Certificate",
    "Newton",
    "Optima",
    "Problem",
    "Solution",
    "Spectrum",
    "certify",
    "decompose",
    "solve",
]
