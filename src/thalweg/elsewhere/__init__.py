"""Use it elsewhere: a recipe as a script for PyTorch, Optax or Keras, and a path's optimum for scikit-learn."""

from thalweg.elsewhere.code import FRAMEWORKS, code
from thalweg.elsewhere.runs import KINDS, code_files, code_of_run
from thalweg.elsewhere.sklearn import logistic_regression

__all__ = ["FRAMEWORKS", "KINDS", "code", "code_files", "code_of_run", "logistic_regression"]
