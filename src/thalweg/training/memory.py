"""Memory, planned before anything is compiled.

What a cohort takes is read off the programs that will run, traced with the
shapes of its state and its data: any model, loss and optimizer is counted, not
only ours. A cohort that does not fit is cut into chunks of nearly equal size
that run one after another.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.optimizers import RandomSearch
from thalweg.training.batches import steps_per_epoch
from thalweg.training.cohort import Cohort
from thalweg.training.free_memory import available_bytes
from thalweg.training.program import Block, Examples, Inputs, TrialState, evaluate, initialise, train_block
from thalweg.training.random_search import search_epoch
from thalweg.training.settings import Settings

__all__ = ["Plan", "peak_bytes", "plan"]

_EVALUATION_ROWS = 1024
_USE = 0.7  # of what is free: the compiler, its programs and all else in the process need the rest
_COPIES = 2  # the compiler's count over ours was 0.25 to 1.75 on a CPU: it joins operations, and copies values
_RANDOM_BITS = 4  # threefry turns two counters into two words for each word that is drawn


@dataclass(frozen=True)
class Plan:
    """How a cohort is cut: `width` trials at a time, `rows` examples at an evaluation.

    ``bytes_whole`` are needed to run the cohort in one piece and ``bytes_chunk`` to run `width` of its trials, with
    all that must be held beside them; ``bytes_free`` may be used.
    """

    trials: int
    width: int
    rows: int
    bytes_whole: int
    bytes_chunk: int
    bytes_free: int

    @property
    def chunks(self) -> int:
        """How many programs of at most `width` trials the cohort needs."""
        return -(-self.trials // self.width)

    def sentence(self) -> str:
        """Say in words what the plan does about memory."""
        return (
            f"{self.trials} trials need {_words(self.bytes_whole)}, {_words(self.bytes_free)} may be used: "
            f"they run in {self.chunks} chunks of up to {self.width}"
        )


def plan(cohorts: Sequence[Cohort], inputs: Sequence[Inputs], classes: int, settings: Settings) -> list[Plan]:
    """Plan the memory of a sweep: how many trials of each cohort fit into one program, given each cohort's inputs.

    ``settings.memory`` bounds the bytes of everything, the data included; by
    default trials may take 70 % of what the device or machine has free, the
    data being there already. Counted are a chunk's state (with patience also
    its best weights), the largest of its programs, and the results of all
    trials; with halving the states of all trials of all cohorts, since they
    wait between rungs. Raises a UsageError where one trial does not fit.
    """
    data = _bytes(jax.tree.leaves(list({id(given): given for given in inputs}.values())))
    free = settings.memory - data if settings.memory is not None else int(_USE * available_bytes())
    patience = settings.patience is not None
    needs = [_Needs(cohort, given, classes, patience) for cohort, given in zip(cohorts, inputs, strict=True)]
    # On an accelerator the results lie on the host, and take none of its memory.
    results = sum(n.result * len(n.cohort) for n in needs) if jax.devices()[0].platform == "cpu" else 0
    states = sum(n.state * len(n.cohort) for n in needs) if settings.halving else 0
    return [_fit(need, results, states, free) for need in needs]


def _fit(need: _Needs, results: int, states: int, free: int) -> Plan:
    """Take as many trials as fit. ``states`` is what waits with halving, this cohort's own included; else 0."""
    trials = len(need.cohort)

    def total(width: int) -> int:
        return results + (states or width * need.state) + need.programs(width)

    whole = total(trials)
    width = trials if whole <= free else bisect_right(range(1, trials), free, key=total)
    if width < 1:
        raise UsageError(_refusal(need, results, states, free))
    width = -(-trials // -(-trials // width))
    # Tracing the programs to measure them is a fifth of a small sweep's time: once is enough where all fit.
    return Plan(trials, width, _EVALUATION_ROWS, whole, whole if width == trials else total(width), free)


def _refusal(need: _Needs, results: int, states: int, free: int) -> str:
    free = max(0, free)
    alone = need.state + need.programs(1)
    if states and alone + results <= free:
        return (
            f"with halving the states of all trials wait in memory between rungs: they and one chunk need "
            f"{_words(states + results + need.programs(1))}, and beside the data {_words(free)} may be used: "
            "take fewer trials, no halving, or raise the memory limit"
        )
    remedy = "a smaller batch_size or model, fewer examples" if alone > free else "fewer trials"
    return (
        f"one trial needs {_words(alone)} and the results of all trials {_words(results)}, and beside the data "
        f"{_words(free)} may be used: take {remedy}, or raise the memory limit"
    )


class _Needs:
    """The bytes that a cohort's trials take: ``state`` and ``result`` per trial, `programs` per chunk."""

    def __init__(self, cohort: Cohort, inputs: Inputs, classes: int, patience: bool) -> None:
        self.cohort = cohort
        self.training, self.validation = jax.tree.map(_shape, inputs)
        self.classes = classes
        state = self._initial(1)
        held = 0 if self.validation is None else len(self.validation.labels)
        kept = _bytes(jax.tree.leaves((state.params, state.model_state)))
        self.result = kept + held
        # What was right in the last evaluation, and by the weights that are kept: a byte an example each.
        self.state = _bytes(jax.tree.leaves(state)) + 2 * held + (kept if patience else 0)

    def programs(self, width: int) -> int:
        """Bytes of the largest program for ``width`` trials, beside their state."""
        recipe, state, key = self._recipe(width), self._initial(width), _shape(jax.random.key(0))
        examples, held = self.training, self.validation

        def score(recipe: Any, state: TrialState, held: Examples) -> Any:
            return evaluate(recipe, state.params, state.model_state, held, _EVALUATION_ROWS)

        def start(recipe: Any, key: jax.Array) -> TrialState:
            return initialise(recipe, key, self.training.features.shape[1:], self.classes)

        if isinstance(self.cohort.recipe.optimizer, RandomSearch):
            lowest, inputs = jax.ShapeDtypeStruct((width,), jnp.float32), 0

            def search(*arguments: Any) -> Any:
                return search_epoch(*arguments, _EVALUATION_ROWS)

            trained = peak_bytes(search, recipe, state, lowest, examples, key)
        else:
            block = self._block(width)
            inputs = 2 * _bytes(block)  # made on the host
            trained = peak_bytes(train_block, recipe, state, examples, block, key)
        # The weights may be copied into the layout of a product, which the gradient's place covers when training.
        scored = 0 if held is None else peak_bytes(score, recipe, state, held) + _bytes(jax.tree.leaves(state.params))
        most = max(trained, scored, peak_bytes(start, recipe, key))
        return inputs + _COPIES * most

    def _recipe(self, width: int) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((width, *a.shape[1:]), a.dtype), self.cohort.recipe)

    def _initial(self, width: int) -> TrialState:
        shape, classes = self.training.features.shape[1:], self.classes
        state: TrialState = jax.eval_shape(
            lambda recipe: initialise(recipe, jax.random.key(0), shape, classes), self._recipe(width)
        )
        return state

    def _block(self, width: int) -> Block:
        batch = self.cohort.batch_size
        steps = steps_per_epoch(len(self.training.labels), batch)
        return Block(
            rows=jax.ShapeDtypeStruct((steps, batch), jnp.int32),
            weight=jax.ShapeDtypeStruct((steps, batch), jnp.float32),
            rates=jax.ShapeDtypeStruct((steps, width), jnp.float32),
            first_step=jax.ShapeDtypeStruct((), jnp.int32),
        )


def peak_bytes(program: Any, *arguments: Any) -> int:
    """Return the most bytes that live at one time while a program runs, its arguments not counted.

    The program is traced, not compiled, and taken to run in the order in which
    it is written, each value being freed after its last use. The compiler joins
    operations and so takes less, or copies values and so takes more.
    """
    return _peak(jax.make_jaxpr(program)(*arguments).jaxpr)


def _peak(jaxpr: Any) -> int:
    last = {v: i for i, equation in enumerate(jaxpr.eqns) for v in equation.invars if _is_variable(v)}
    last |= dict.fromkeys(filter(_is_variable, jaxpr.outvars), len(jaxpr.eqns))
    live: dict[Any, int] = {}
    now = most = 0
    for i, equation in enumerate(jaxpr.eqns):
        made = {v: _made(equation, v.aval) for v in equation.outvars}
        most = max(most, now + _cost(equation, sum(made.values())))
        live |= made
        now += sum(made.values())
        for v in {v for v in (*equation.invars, *equation.outvars) if _is_variable(v) and last.get(v, i) == i}:
            now -= live.pop(v, 0)
    return most


def _made(equation: Any, aval: Any) -> int:
    """Bytes of a value; none for a repeated one, which the compiler forms in the operation that reads it."""
    return 0 if equation.primitive.name in ("broadcast_in_dim", "iota") else _bytes([aval])


def _cost(equation: Any, made: int) -> int:
    """Bytes that an equation needs while it runs, its results included."""
    name = equation.primitive.name
    if name == "random_bits":
        return _RANDOM_BITS * made
    inner: list[Any] = [
        getattr(p, "jaxpr", p) for p in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr) if _is_jaxpr(p)
    ]
    peak = max(map(_peak, inner), default=0)
    if name == "scan":
        first = equation.params["num_consts"] + equation.params["num_carry"]
        return made + peak + _bytes([v.aval for v in inner[0].invars[first:]])  # one turn's slices
    if name == "while":
        return made + peak
    return max(made, peak)  # a call's results are the values inside


def _is_variable(value: Any) -> bool:
    return not hasattr(value, "val")  # else a literal


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _bytes(arrays: Sequence[Any]) -> int:
    return sum(math.prod(a.shape) * _itemsize(a.dtype) for a in arrays)


def _itemsize(dtype: Any) -> int:
    return np.dtype(dtype).itemsize if not jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else 8


def _words(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
