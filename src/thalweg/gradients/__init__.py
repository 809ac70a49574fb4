"""Gradients: numeric ones, and checks of those written by hand or taken by a framework."""

from thalweg.gradients.check import gradcheck
from thalweg.gradients.numeric import numeric_gradient
from thalweg.gradients.sample import Sample, sample_check
from thalweg.gradients.second import gradgradcheck
from thalweg.gradients.verdict import Entry, Verdict

__all__ = ["Entry", "Sample", "Verdict", "gradcheck", "gradgradcheck", "numeric_gradient", "sample_check"]
