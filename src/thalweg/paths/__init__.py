"""Regularisation paths: certified optima for many penalty strengths at once."""

from thalweg.paths.fit import path
from thalweg.paths.records import Choice, Path, PathProgress, PathSolution

__all__ = ["Choice", "Path", "PathProgress", "PathSolution", "path"]
