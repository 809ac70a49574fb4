"""Gradients: numeric ones, and checks of those written by hand or taken by a framework."""

from thalweg.gradients.check import gradcheck
from thalweg.gradients.verdict import Entry, Verdict

__all__ = ["Entry", "Verdict", "gradcheck"]
