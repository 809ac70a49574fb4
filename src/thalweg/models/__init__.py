"""Models: parameters and scores, each an ``init``/``apply`` pair of pure functions."""

from thalweg.models.functions import Functions, Model, as_model
from thalweg.models.linear import Linear

__all__ = ["Functions", "Linear", "Model", "as_model"]
