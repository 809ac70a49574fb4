"""Optax transformations, and any other pair of init and update, as optimizers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_number
from thalweg.optimizers.base import Optimizer, Tree, map_leaves
from thalweg.optimizers.random_search import RandomSearch
from thalweg.ranges import Choice, Integers, Range
from thalweg.schedules import Schedule, as_schedule

__all__ = ["Optax", "OptaxState", "Transformation", "as_optimizer"]


class OptaxState(NamedTuple):
    """Steps taken, and the transformation's own state."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    inner: Any


class Optax(Optimizer):
    """An Optax optimizer whose numbers are leaves: ``Optax(optax.lion, 1e-3, b1=0.9)``.

    ``factory(learning_rate=..., **numbers)`` is built anew within each ``init``
    and ``update``, so that its numbers may be ranges and may differ between the
    trials of one program, wherever Optax itself takes traced numbers. Schedules
    of `thalweg.schedules`, as the learning rate or as another argument, are
    evaluated at the step and handed over as numbers.

    What Optax makes of a β: a factory forms 1 − β itself. Called with Python
    numbers (an update of your own, outside a compiled program or closed over by
    it) it does so in double precision. In a training, of one trial too, the
    numbers are float32 arguments of the compiled program by necessity, and
    Optax's 1 − 0.999 is then 0.999987e-3. Use our `Adam` and its kin for exact
    complements; or fix the number within the factory, where it stays a Python
    number that trials cannot differ in:
    ``Optax(functools.partial(optax.lion, b2=0.999), 1e-3)``.

    Arguments:
        factory: such as ``optax.lion``.
        learning_rate: a number or a schedule; None for a factory without one.
        numbers, options, further keywords: the factory's other arguments by
            name. Numbers with a decimal point, arrays and schedules become
            leaves; whole numbers (they often are sizes), flags, strings,
            functions and None are static.

    A proximal penalty (L1, elastic net) needs ``learning_rate``, which is then
    the step of every entry. That is exact for factories of the gradient descent
    kind without momentum; after one that rescales the gradient (Adam's kind)
    the penalty is weighted by that scale. The optimizers of this package know
    their own step, and have no such limit.

    A step hands over gradients, state and parameters. A transformation whose
    update needs more (line searches, plateau rules: the loss) raises a UsageError.
    """

    name: ClassVar[str] = "Optax"
    factory: Any = eqx.field(static=True)
    numbers: dict[str, Any]
    options: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __init__(
        self,
        factory: Callable[..., Any],
        learning_rate: Any = None,
        numbers: Mapping[str, Any] | None = None,
        options: Iterable[tuple[str, Any]] = (),
        **further: Any,
    ) -> None:
        if not callable(factory):
            raise UsageError(f"Optax: factory is {factory!r}; give a function such as optax.lion, not its result")
        arguments = {**(numbers or {}), **dict(options), **further}
        self.factory = factory
        self.learning_rate = None if learning_rate is None else as_schedule(learning_rate)
        self.numbers = {name: value for name, value in arguments.items() if _is_leaf(value)}
        self.options = tuple((name, value) for name, value in arguments.items() if not _is_leaf(value))
        for name, value in self.numbers.items():
            if not isinstance(value, Schedule | Choice):
                check_number(self.name, name, value)

    def init(self, params: Tree) -> OptaxState:
        count = jnp.zeros((), jnp.int32)
        return OptaxState(count, self._build(count).init(params))

    def update(self, gradients: Tree, state: OptaxState, params: Tree = None) -> tuple[Tree, OptaxState]:
        transformation = self._build(state.count)
        with _no_further_arguments(f"Optax({getattr(self.factory, '__name__', self.factory)})"):
            updates, inner = transformation.update(gradients, state.inner, params)
        updates = jax.tree.map(lambda u, g: u.astype(g.dtype), updates, gradients)
        return updates, OptaxState(state.count + 1, inner)

    def step_size(self, state: OptaxState, params: Tree) -> Tree:
        if self.learning_rate is None:
            raise UsageError(
                "Optax: a penalty with a proximal step needs to know the learning rate; "
                "give it as Optax(factory, learning_rate)"
            )
        return map_leaves(lambda a, x: jnp.full_like(x, a), self.rate(state.count - 1), params)

    def _build(self, count: jax.Array) -> Any:
        numbers = {n: v(count) if isinstance(v, Schedule) else _plain(v) for n, v in self.numbers.items()}
        if self.learning_rate is not None:
            numbers["learning_rate"] = self.rate(count)
        return self.factory(**numbers, **dict(self.options))


class Transformation(eqx.Module):
    """A pair of ``init`` and ``update``, such as an Optax transformation, as it is.

    Its numbers are fixed within its functions, so trials cannot differ in them;
    nor does it tell its learning rate, so it has no ``step_size`` for a proximal
    penalty. `Optax` takes the function that builds it, and has neither limit.
    An update that needs more than gradients, state and parameters (line
    searches, plateau rules) raises a UsageError.
    """

    transformation: Any = eqx.field(static=True)

    def init(self, params: Tree) -> Any:
        return self.transformation.init(params)

    def update(self, gradients: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        with _no_further_arguments("the optimizer given"):
            updates, after = self.transformation.update(gradients, state, params)
        return updates, after


def as_optimizer(value: Any) -> Any:
    """Return value as a recipe's optimizer, or raise a UsageError.

    Ours and other modules stay as they are; an Optax transformation is wrapped.
    """
    if isinstance(value, (Optimizer, RandomSearch)):
        return value
    if not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in ("init", "update")):
        return value if isinstance(value, eqx.Module) else Transformation(value)
    raise UsageError(
        f"optimizer is {value!r}; give one of thalweg.optimizers, such as Adam(1e-3), or an Optax transformation"
    )


# How Python, and some of optax.contrib, put that an update was called without an argument it needs.
_MISSING = re.compile(r"missing \d+ required keyword-only arguments?: (.+)|^(?!params)(\w+) must be provided")


@contextlib.contextmanager
def _no_further_arguments(owner: str) -> Iterator[None]:
    """Turn the error of an update that lacks ``value``, ``grad``, ``value_fn``, ... into a UsageError."""
    try:
        yield
    except (TypeError, ValueError) as error:
        found = _MISSING.search(str(error))
        if found is None:
            raise
        missing = found[1] or repr(found[2])
        raise UsageError(
            f"{owner}: its update needs {missing} ({error}), and a training step hands over gradients, state and "
            "parameters only (line searches and plateau rules need the loss); take a transformation of gradients, "
            "such as optax.adam, and a schedule"
        ) from error


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python number, which takes the precision of what it meets and makes no float64 of a float32.

    What is traced stays as it is; so does an array that holds one number a trial.
    """
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0 else value


def _is_leaf(value: Any) -> bool:
    """True for what may differ between the trials of one program: numbers that are no sizes, and schedules."""
    if isinstance(value, Choice):
        return all(_is_leaf(option) for option in value.options)
    if isinstance(value, (bool, int, str, Integers)) or value is None:
        return False
    return isinstance(value, (float, Range, Schedule)) or hasattr(value, "dtype")
