"""Gradient checkers on a corpus of wrong and right gradients: what each catches, misses and accuses.

    python benchmarks/bench_gradcheck.py [--only TEXT] [--checkers NAME ...]

Ours, ``torch.autograd.gradcheck`` (slow and fast), ``jax.test_util.check_grads`` and
``scipy.optimize.check_grad``, each with its default tolerances, on every case of
``gradient_corpus``. A case that is written for another library reaches a peer
through an adapter: f as a call back to NumPy, the gradient as the rule for its
reverse derivative. A tree becomes several inputs for PyTorch, and one long vector
for SciPy.

SciPy gives a norm and no verdict. Here it is taken to say "wrong" where the norm of
the difference is above 1e-4 × max(1, norm of the gradient), or is not a number. It works in float64
whatever it is given. PyTorch's slow mode and SciPy go entry by entry: above 1,000 entries, or
100,000 of the Jacobian, they are left out as too slow. PyTorch's fast mode runs the slow one after a
failure, only to word its message; that is left out too, in its favour.

An error that is a peer's way to say no (GradcheckError, AssertionError) counts as
"wrong"; any other is listed as an error. Evaluations are the calls of f: ours by its
own count, the peers' counted here, calls that differentiate f included. At an exact
kink no gradient is right or wrong beyond being between the slopes; accusations there stand in brackets.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from scipy.optimize import check_grad

from common import installed, table
from gradient_corpus import BUGS, CORRECT, NOTES, Case

TORCH = installed("torch")
SLOW, SLOW_JACOBIAN = 1_000, 100_000  # entries
SCIPY_TOLERANCE = 1e-4


class NotApplicableError(Exception):
    """A checker cannot take a case; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What a checker said of a case: right, wrong, unsure, n/a or error."""

    said: str
    why: str
    evaluations: int
    seconds: float


class Flat:
    """A case of any library as a NumPy function of its leaves, with products of cotangents and its Jacobian."""

    def __init__(self, case: Case) -> None:
        self.case = case
        leaves, self.structure = jax.tree.flatten(case.x)
        self.leaves = [np.asarray(leaf) for leaf in leaves]
        self.calls = 0

    def point(self, leaves: Any) -> Any:
        """Return the leaves as the tree that the case's f takes."""
        if self.case.kind == "torch":
            import torch

            made = [torch.tensor(np.asarray(leaf)) for leaf in leaves]
        else:
            made = [(jnp.asarray if self.case.kind == "jax" else np.array)(leaf) for leaf in leaves]
        return jax.tree.unflatten(self.structure, made)

    def value(self, *leaves: Any) -> np.ndarray:
        self.calls += 1
        return np.asarray(self.case.f(self.point(leaves)))

    def pull(self, cotangent: np.ndarray, *leaves: Any) -> list[np.ndarray]:
        """Return the case's own gradient, times a cotangent."""
        x, cotangent = self.point(leaves), np.asarray(cotangent)
        if self.case.kind == "torch":
            return torch_pull(self.case.f, x, cotangent)
        if self.case.gradient is None:
            output, back = jax.vjp(self.case.f, x)
            found = back(jnp.asarray(cotangent, output.dtype))[0]
        else:
            found = jax.tree.map(
                lambda entry: np.tensordot(cotangent, np.asarray(entry), cotangent.ndim), self.case.gradient(x)
            )
        return [np.asarray(g, leaf.dtype) for g, leaf in zip(jax.tree.leaves(found), leaves, strict=True)]


def torch_pull(f: Callable[..., Any], x: Any, cotangent: np.ndarray) -> list[np.ndarray]:
    import torch

    inputs = [leaf.requires_grad_() for leaf in jax.tree.leaves(x)]
    output = f(x)
    found = torch.autograd.grad(output, inputs, torch.tensor(cotangent, dtype=output.dtype), allow_unused=True)
    return [np.zeros(leaf.shape) if g is None else g.numpy() for g, leaf in zip(found, inputs, strict=True)]


# The checkers: each returns whether it said "right", and the evaluations


def ours(case: Case) -> tuple[str, int]:
    import thalweg

    if case.order == 2:
        verdict = thalweg.gradgradcheck(case.f, case.x)
    else:
        verdict = thalweg.gradcheck(case.f, case.x, case.gradient)
    return {"pass": "right", "fail": "wrong", "inconclusive": "unsure"}[verdict.status], verdict.evaluations


def torch_slow(case: Case) -> tuple[str, int]:
    refuse_large(case)
    return torch_check(case, fast=False)


def refuse_large(case: Case) -> None:
    """Leave a case out for a checker that goes entry by entry."""
    if entries(case) > SLOW:
        raise NotApplicableError(f"too slow above {SLOW:,} entries")
    flat = Flat(case)
    if flat.value(*flat.leaves).size * entries(case) > SLOW_JACOBIAN:
        raise NotApplicableError(f"too slow above {SLOW_JACOBIAN:,} entries of the Jacobian")


def torch_fast(case: Case) -> tuple[str, int]:
    return torch_check(case, fast=True)


def torch_check(case: Case, fast: bool) -> tuple[str, int]:
    import torch
    from torch.autograd.gradcheck import GradcheckError

    module = sys.modules["torch.autograd.gradcheck"]  # the attribute of that name is the function
    if case.order == 2 and case.kind != "torch":
        raise NotApplicableError("second derivatives of another library")
    flat = Flat(case)
    function = torch_native(flat) if case.kind == "torch" else torch_adapter(flat)
    inputs = tuple(torch.tensor(leaf, requires_grad=True) for leaf in flat.leaves)
    check = torch.autograd.gradgradcheck if case.order == 2 else torch.autograd.gradcheck
    try:
        with mock.patch.object(module, "_run_slow_mode_and_get_error", return_value=""):
            check(function, inputs, fast_mode=fast)
    except GradcheckError:
        return "wrong", flat.calls
    return "right", flat.calls


def torch_native(flat: Flat) -> Callable[..., Any]:
    def function(*inputs: Any) -> Any:
        flat.calls += 1
        return flat.case.f(jax.tree.unflatten(flat.structure, inputs))

    return function


def torch_adapter(flat: Flat) -> Callable[..., Any]:
    """Make a torch.autograd.Function that calls f forward and the gradient backward."""
    import torch

    class Called(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.save_for_backward(*inputs)
            value = flat.value(*(leaf.detach().numpy() for leaf in inputs))
            return torch.tensor(value, dtype=inputs[0].dtype)  # fast mode wants one type throughout

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            leaves = [leaf.detach().numpy() for leaf in ctx.saved_tensors]
            return tuple(torch.tensor(g) for g in flat.pull(cotangent.numpy(), *leaves))

    return Called.apply


def jax_check(case: Case) -> tuple[str, int]:
    if case.order == 2 and case.kind != "jax":
        raise NotApplicableError("second derivatives of another library")
    flat = Flat(case)
    native = case.kind == "jax" and case.gradient is None
    function = jax_native(flat) if native else jax_adapter(flat)
    modes = ("fwd", "rev") if native and takes_forward_mode(case) else ("rev",)
    try:
        check_grads(function, tuple(flat.leaves), case.order, modes=modes)
    except AssertionError:
        return "wrong", flat.calls
    return "right", flat.calls


def jax_native(flat: Flat) -> Callable[..., Any]:
    def function(*leaves: Any) -> Any:
        flat.calls += 1
        return flat.case.f(jax.tree.unflatten(flat.structure, [jnp.asarray(leaf) for leaf in leaves]))

    return function


def takes_forward_mode(case: Case) -> bool:
    """Say whether f has a forward derivative: a custom_vjp inside it has none."""
    x = jax.tree.map(jnp.asarray, case.x)
    try:
        jax.jvp(case.f, (x,), (x,))
    except TypeError:
        return False
    return True


def jax_adapter(flat: Flat) -> Callable[..., Any]:
    """Make a function with a reverse rule that calls f and its gradient.

    check_grads runs without tracing, so that the arrays have values where the rule
    is called. ``jax.pure_callback`` would serve traced ones too, but it locks up on a
    single core with arrays of 100,000 entries.
    """

    @jax.custom_vjp
    def function(*leaves: Any) -> Any:
        return jnp.asarray(flat.value(*map(np.asarray, leaves)))

    def pull(leaves: Any, cotangent: Any) -> tuple[Any, ...]:
        found = flat.pull(np.asarray(cotangent), *map(np.asarray, leaves))
        return tuple(jnp.asarray(g, leaf.dtype) for g, leaf in zip(found, flat.leaves, strict=True))

    function.defvjp(lambda *leaves: (function(*leaves), leaves), pull)
    return function


def scipy_check(case: Case) -> tuple[str, int]:
    if case.order == 2:
        raise NotApplicableError("no second derivatives")
    refuse_large(case)
    flat = Flat(case)
    ends = np.cumsum([leaf.size for leaf in flat.leaves])[:-1]
    shape = flat.value(*flat.leaves).shape
    flat.calls = 0

    def split(x: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(leaf.shape) for part, leaf in zip(np.split(x, ends), flat.leaves, strict=True)]

    def value(x: np.ndarray) -> Any:
        found = flat.value(*split(x))
        return found if shape else float(found)

    def gradient(x: np.ndarray) -> np.ndarray:
        rows = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        pulled = [np.concatenate([g.ravel() for g in flat.pull(row, *split(x))]) for row in rows]
        return np.stack(pulled) if shape else pulled[0]

    x = np.concatenate([leaf.ravel() for leaf in flat.leaves]).astype(np.float64)
    off = check_grad(value, gradient, x)
    return ("right" if off <= SCIPY_TOLERANCE * max(1.0, float(np.linalg.norm(gradient(x)))) else "wrong"), flat.calls


CHECKERS: dict[str, Callable[[Case], tuple[str, int]]] = {
    "Thalweg": ours,
    "torch slow": torch_slow,
    "torch fast": torch_fast,
    "JAX check_grads": jax_check,
    "SciPy check_grad": scipy_check,
}


def entries(case: Case) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(case.x))


def ask(checker: Callable[[Case], tuple[str, int]], case: Case) -> Answer:
    """Ask one checker about one case."""
    start = time.perf_counter()
    why, evaluations = "", 0
    try:
        # Steps out of a domain warn, and so do float32 inputs in PyTorch; the verdict is what counts here.
        with warnings.catch_warnings(), np.errstate(all="ignore"), jax.enable_x64(True):
            warnings.simplefilter("ignore")
            said, evaluations = checker(case)
    except NotApplicableError as reason:
        said, why = "n/a", str(reason)
    except Exception as error:
        said, why = "error", f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
    return Answer(said, why, evaluations, time.perf_counter() - start)


def summary(name: str, bugs: list[Answer], correct: list[Answer], kinks: int) -> list[str]:
    """Return a checker's row."""

    def count(answers: list[Answer], said: str) -> int:
        return sum(answer.said == said for answer in answers)

    judged = [a for a in bugs + correct if a.said in ("right", "wrong", "unsure")]
    evaluations = [a.evaluations for a in judged] or [0]
    taken = len(bugs) - count(bugs, "n/a")
    caught = count(bugs, "wrong")
    return [
        name,
        f"{caught} of {taken} ({caught / max(taken, 1):.1%})",
        str(count(bugs, "right")),
        str(count(bugs, "unsure")) if name == "Thalweg" else "–",
        str(count(correct, "right")),
        f"{count(correct, 'wrong') - kinks} (+{kinks})",
        str(count(correct, "unsure")) if name == "Thalweg" else "–",
        str(count(bugs + correct, "n/a")),
        str(count(bugs + correct, "error")),
        f"{np.median(evaluations):.0f}",
        f"{max(evaluations):,}",
        f"{sum(a.seconds for a in bugs + correct):.1f}",
    ]


HEAD = ["checker", "bugs caught", "missed", "unsure of a bug", "right ones passed", "false alarms (+ at kinks)"]
HEAD += ["unsure of a right one", "not applicable", "errors", "evaluations, median", "most", "seconds"]


def word(case: Case, answer: Answer) -> str:
    """Write a verdict so that what went wrong stands out."""
    if answer.said == "wrong":
        return "caught" if case.wrong else "**false alarm**"
    if answer.said == "right":
        return "**missed**" if case.wrong else "passed"
    return f"{answer.said}: {answer.why}" if answer.why else answer.said


def available(wanted: list[str]) -> list[str]:
    """Return the checkers that can run here, and say why the others cannot."""
    import thalweg

    missing = {} if TORCH else dict.fromkeys(["torch slow", "torch fast"], "PyTorch is not installed")
    if not hasattr(thalweg, "gradcheck"):
        missing["Thalweg"] = "this Thalweg has no gradcheck"
    for name in wanted:
        if name in missing:
            print(f"left out: {name}: {missing[name]}")
    return [name for name in wanted if name not in missing]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this in it; nothing is then kept on disk")
    parser.add_argument("--checkers", nargs="*", default=list(CHECKERS), choices=list(CHECKERS))
    options = parser.parse_args()
    for note in NOTES:
        print(note)
    names = available(options.checkers)
    cases = [case for case in BUGS + CORRECT if options.only in case.name]
    answers = {name: [ask(CHECKERS[name], case) for case in cases] for name in names}
    rows = []
    for name, said in answers.items():
        pairs = list(zip(cases, said, strict=True))
        bugs, correct = ([a for case, a in pairs if case.wrong is wrong] for wrong in (True, False))
        kinks = sum(case.at_kink and answer.said == "wrong" for case, answer in pairs)
        rows.append(summary(name, bugs, correct, kinks))
    lines = []
    for i, case in enumerate(cases):
        truth = ("bug" if case.wrong else "right") + (", at a kink" if case.at_kink else "")
        verdicts = [word(case, said[i]) for said in answers.values()]
        lines.append([case.name, case.kind, f"{entries(case):,}", str(case.order), truth, *verdicts])
    keep(rows, lines, names, kept=not options.only and names == list(CHECKERS))


def keep(rows: list[list[str]], lines: list[list[str]], names: list[str], kept: bool) -> None:
    """Write both tables; print them alone where only a part was run."""
    wrong = sum(line[4].startswith("bug") for line in lines)
    title = f"Gradient checkers: {wrong} planted bugs, {len(lines) - wrong} right gradients"
    by_case = ["case", "kind", "entries", "order", "truth", *names]
    if kept:
        table(f"{title}, case by case", by_case, lines, "gradcheck_cases")
        table(title, HEAD, rows, "gradcheck")
        return
    for head, cells in ((by_case, lines), (HEAD, rows)):
        print("\n".join(" | ".join(row) for row in [head, *cells]), end="\n\n")


if __name__ == "__main__":
    main()
