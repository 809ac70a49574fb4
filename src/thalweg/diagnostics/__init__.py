"""Why a run went as it did: coded checks, curvature, gradient noise, robustness.

>>> from thalweg import diagnostics
>>> print(diagnostics.diagnose(run, data))  # doctest: +SKIP
"""

# All at once, not when first asked for: some functions share their name with the module they stand in.
from thalweg.diagnostics.base import Check, Diagnosis
from thalweg.diagnostics.before import sanity
from thalweg.diagnostics.case import Case, make_case
from thalweg.diagnostics.challenges import ChallengeTable, challenges
from thalweg.diagnostics.checks import CHECKS
from thalweg.diagnostics.curvature import Curvature, curvature, curvatures
from thalweg.diagnostics.diagnose import diagnose
from thalweg.diagnostics.edge_record import EdgeRecord
from thalweg.diagnostics.noise import NoiseRecord, gradient_noise
from thalweg.diagnostics.noise_history import NoiseHistory, noise_history
from thalweg.diagnostics.scaling_records import ScalingRecord
from thalweg.diagnostics.scaling_rule import scaling_rule
from thalweg.diagnostics.stability_edge import edge
from thalweg.diagnostics.trajectory import PlaneRecord, Trajectory, plane, trajectory

__all__ = [
    "CHECKS",
    "Case",
    "ChallengeTable",
    "Check",
    "Curvature",
    "Diagnosis",
    "EdgeRecord",
    "NoiseHistory",
    "NoiseRecord",
    "PlaneRecord",
    "ScalingRecord",
    "Trajectory",
    "challenges",
    "curvature",
    "curvatures",
    "diagnose",
    "edge",
    "gradient_noise",
    "make_case",
    "noise_history",
    "plane",
    "sanity",
    "scaling_rule",
    "trajectory",
]
