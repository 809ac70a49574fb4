"""Why a run went as it did: coded checks, curvature, gradient noise, robustness."""

from thalweg.diagnostics.base import Check, Diagnosis
from thalweg.diagnostics.case import Case, make_case
from thalweg.diagnostics.checks import CHECKS
from thalweg.diagnostics.diagnose import diagnose

__all__ = ["CHECKS", "Case", "Check", "Diagnosis", "diagnose", "make_case"]
