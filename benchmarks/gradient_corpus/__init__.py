"""Functions with right and wrong gradients, to try gradient checkers on.

    from gradient_corpus import BUGS, CORRECT, NOTES

``python -m gradient_corpus.truth``, from ``benchmarks/``, holds every case to JAX's
(or PyTorch's) derivative of the same function without rules written by hand.
"""

from importlib.util import find_spec

from . import entries, hard, jax_rules, layers
from .case import Case

NOTES: list[str] = []
_cases = [*layers.cases(), *entries.cases(), *hard.cases(), *jax_rules.cases()]
if find_spec("torch") is None:
    NOTES.append("PyTorch is not installed: its cases and its checkers are left out")
else:
    from . import torch_rules

    _cases += torch_rules.cases()

BUGS: list[Case] = [case for case in _cases if case.wrong]
CORRECT: list[Case] = [case for case in _cases if not case.wrong]

__all__ = ["BUGS", "CORRECT", "NOTES", "Case"]
