"""Models: parameters and scores, each an ``init``/``apply`` pair of pure functions."""

from thalweg.models.convolutional import Convolutional
from thalweg.models.dense import Dense
from thalweg.models.functions import Functions, Model, as_model
from thalweg.models.linear import Linear

__all__ = ["Convolutional", "Dense", "Functions", "Linear", "Model", "as_model"]
