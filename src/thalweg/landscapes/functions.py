"""The classic landscapes, each for one difficulty, with exact derivatives.

Narrow valleys (Quadratic, Rosenbrock), saddles (Saddle, MonkeySaddle), plateaus
(Beale, Hill), several minima (Himmelblau, Rastrigin).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_number
from thalweg.landscapes.base import Array, Bounds, Landscape, Points

__all__ = [
    "Beale",
    "Hill",
    "Himmelblau",
    "MonkeySaddle",
    "Quadratic",
    "Rastrigin",
    "Rosenbrock",
    "Saddle",
]

# Formulas use Python's numbers, never NumPy's scalars: these would turn a float32 JAX array into float64.


class _Parametric:
    """A dataclass whose parameters become plain floats, checked as the subclass says."""

    def _set(self, name: str, **limits: float) -> None:
        value = getattr(self, name)
        if not isinstance(value, (int, float, np.integer, np.floating)):
            raise UsageError(f"{type(self).__name__}: {name} is {value!r}; give one number")
        check_number(type(self).__name__, name, value, **limits)  # type: ignore[arg-type]  # no limit is a flag
        object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Quadratic(_Parametric, Landscape):
    """A bowl that is steep one way and shallow the other: ``f = ½(u² + κv²)``.

    ``u = x cos θ + y sin θ`` runs along the valley, ``v = y cos θ − x sin θ`` across it.
    The Hessian's eigenvalues are 1 and κ everywhere, so κ is its condition
    number: gradient descent is stable below the rate 2/κ, and at its best rate
    2/(κ + 1) the error shrinks by (κ − 1)/(κ + 1) a step.

    Args:
        condition: κ ≥ 1. The default 10 shows the jitter and still converges within a picture's steps.
        angle: θ in radians. 0 lays the valley along x; turned, it is hard for rules
            that scale each coordinate on its own (AdaGrad, RMSProp, Adam).

    Raises:
        UsageError: a condition below 1, or a parameter that is no finite number.

    Nocedal and Wright 2006, Numerical Optimization, section 3.3.
    """

    condition: float = 10.0
    angle: float = 0.0

    name: ClassVar[str] = "Quadratic"
    bounds: ClassVar[Bounds] = ((-3.0, 3.0), (-3.0, 3.0))
    minima: ClassVar[Points] = ((0.0, 0.0),)

    def __post_init__(self) -> None:
        self._set("condition", least=1)
        self._set("angle")

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        u, v, _, _ = self._turned(x, y)
        return 0.5 * (u**2 + self.condition * v**2)

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        u, v, cos, sin = self._turned(x, y)
        steep = self.condition * v
        return cos * u - sin * steep, sin * u + cos * steep

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        _, _, cos, sin = self._turned(x, y)
        return (
            cos**2 + self.condition * sin**2,
            (1 - self.condition) * sin * cos,
            sin**2 + self.condition * cos**2,
        )

    def _turned(self, x: Array, y: Array) -> tuple[Array, Array, float, float]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return cos * x + sin * y, cos * y - sin * x, cos, sin


@dataclass(frozen=True)
class Saddle(Landscape):
    """The plain saddle: ``f = x² − y²``.

    The gradient is 0 at the origin, where the Hessian has the eigenvalues 2 and
    −2: no minimum, and f has no least value. On the line y = 0 gradient descent
    runs into the saddle; beside it, y grows by a constant factor a step.

    Dauphin et al. 2014, Identifying and attacking the saddle point problem.
    """

    name: ClassVar[str] = "Saddle"
    bounds: ClassVar[Bounds] = ((-2.0, 2.0), (-2.0, 2.0))
    minima: ClassVar[Points] = ()

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return x**2 - y**2

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        return 2 * x, -2 * y

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return 2.0, 0.0, -2.0


@dataclass(frozen=True)
class MonkeySaddle(Landscape):
    """The saddle with three ways down: ``f = x³ − 3xy²``.

    At the origin the gradient and the whole Hessian are 0, so Newton's step is
    undefined there and curvature does not tell the ways down; elsewhere the
    Hessian's eigenvalues are ±6·√(x² + y²).

    Hilbert and Cohn-Vossen 1952, Geometry and the Imagination, chapter IV.
    """

    name: ClassVar[str] = "Monkey saddle"
    bounds: ClassVar[Bounds] = ((-2.0, 2.0), (-2.0, 2.0))
    minima: ClassVar[Points] = ()

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return x * (x**2 - 3 * y**2)

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        return 3 * (x**2 - y**2), -6 * x * y

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return 6 * x, -6 * y, -6 * x


@dataclass(frozen=True)
class Rosenbrock(_Parametric, Landscape):
    """The banana: ``f = (a − x)² + b(y − x²)²``, a curved valley with a flat floor.

    The one stationary point is the minimum (a, a²), with f = 0. At the defaults
    the Hessian's condition number there is about 2,500.

    Args:
        a: the minimum's x; 1 as in the source.
        b: how steep the valley's walls are, above 0; 100 as in the source.

    Raises:
        UsageError: b not above 0, or a parameter that is no finite number.

    Rosenbrock 1960, An automatic method for finding the greatest or least value of a function.
    """

    a: float = 1.0
    b: float = 100.0

    name: ClassVar[str] = "Rosenbrock"

    def __post_init__(self) -> None:
        self._set("a")
        self._set("b", above=0)

    @property
    def bounds(self) -> Bounds:
        """[−2, 2] × [−1, 3] for a = 1; it grows with a as the valley does (x by |a|, y by a²)."""
        scale = abs(self.a) or 1.0
        return (-2 * scale, 2 * scale), (-(scale**2), 3 * scale**2)

    @property
    def minima(self) -> Points:
        """The minimum (a, a²)."""
        return ((self.a, self.a**2),)

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return (self.a - x) ** 2 + self.b * (y - x**2) ** 2

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        off = y - x**2
        return 2 * (x - self.a) - 4 * self.b * x * off, 2 * self.b * off

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return 2 + 4 * self.b * (3 * x**2 - y), -4 * self.b * x, 2 * self.b


@dataclass(frozen=True)
class Beale(Landscape):
    """Plateaus with steep corners: ``f = Σ_k (c_k − x + xyᵏ)²``, k = 1, 2, 3, c = (1.5, 2.25, 2.625).

    The minimum is (3, ½), with f = 0. At (0, 1) there is a saddle, in a long flat
    valley; towards the corners f grows like x²y⁶.

    Beale 1958, On an iterative method for finding a local minimum of a function of more than one variable.
    """

    name: ClassVar[str] = "Beale"
    bounds: ClassVar[Bounds] = ((-4.5, 4.5), (-4.5, 4.5))
    minima: ClassVar[Points] = ((3.0, 0.5),)

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        first, second, third = self._residuals(x, y)
        return first**2 + second**2 + third**2

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        r = self._residuals(x, y)
        by_x, by_y = self._jacobian(x, y)
        return (
            2 * (r[0] * by_x[0] + r[1] * by_x[1] + r[2] * by_x[2]),
            2 * (r[0] * by_y[0] + r[1] * by_y[1] + r[2] * by_y[2]),
        )

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        r = self._residuals(x, y)
        by_x, by_y = self._jacobian(x, y)
        # The residuals' own second derivatives: 0 in xx; 1, 2y, 3y² in xy; 0, 2x, 6xy in yy.
        bent = r[0] + 2 * y * r[1] + 3 * y**2 * r[2]
        return (
            2 * (by_x[0] ** 2 + by_x[1] ** 2 + by_x[2] ** 2),
            2 * (by_x[0] * by_y[0] + by_x[1] * by_y[1] + by_x[2] * by_y[2] + bent),
            2 * (by_y[0] ** 2 + by_y[1] ** 2 + by_y[2] ** 2 + 2 * x * r[1] + 6 * x * y * r[2]),
        )

    @staticmethod
    def _residuals(x: Array, y: Array) -> tuple[Array, Array, Array]:
        return 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3

    @staticmethod
    def _jacobian(x: Array, y: Array) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
        return (y - 1, y**2 - 1, y**3 - 1), (x, 2 * x * y, 3 * x * y**2)


@dataclass(frozen=True)
class Himmelblau(Landscape):
    """Four equal minima: ``f = (x² + y − 11)² + (x + y² − 7)²``.

    All four have f = 0: (3, 2) and three that are known to their last digit.
    Between them lie four saddles, and near (−0.27, −0.92) a maximum.

    Himmelblau 1972, Applied Nonlinear Programming.
    """

    name: ClassVar[str] = "Himmelblau"
    bounds: ClassVar[Bounds] = ((-5.0, 5.0), (-5.0, 5.0))
    minima: ClassVar[Points] = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.2831859912861696),
        (3.5844283403304917, -1.8481265269644034),
    )

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        first, second = x**2 + y - 11, x + y**2 - 7
        return 4 * x * first + 2 * second, 2 * first + 4 * y * second

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return 12 * x**2 + 4 * y - 42, 4 * (x + y), 12 * y**2 + 4 * x - 26


@dataclass(frozen=True)
class Rastrigin(_Parametric, Landscape):
    """A bowl with a regular grid of pits: ``f = Σ_i [z_i² + A(1 − cos 2πz_i)]`` over z = (x, y).

    The least value is 0, at the origin alone. At A = 10 there is a local minimum
    near every other pair of whole numbers within the bounds; ``minima`` names none of these.

    Args:
        amplitude: A > 0, half the depth of the pits; 10 is the usual choice.

    Raises:
        UsageError: an amplitude not above 0, or no finite number.

    Rastrigin 1974, Systems of Extremal Control.
    """

    amplitude: float = 10.0

    name: ClassVar[str] = "Rastrigin"
    bounds: ClassVar[Bounds] = ((-5.12, 5.12), (-5.12, 5.12))
    minima: ClassVar[Points] = ((0.0, 0.0),)

    def __post_init__(self) -> None:
        self._set("amplitude", above=0)

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        # 1 − cos 2πz as 2 sin² πz: near the minimum the difference would lose all its digits.
        ripples = xp.sin(math.pi * x) ** 2 + xp.sin(math.pi * y) ** 2
        return x**2 + y**2 + 2 * self.amplitude * ripples

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        ripple = 2 * math.pi * self.amplitude
        return 2 * x + ripple * xp.sin(2 * math.pi * x), 2 * y + ripple * xp.sin(2 * math.pi * y)

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        ripple = 4 * math.pi**2 * self.amplitude
        return 2 + ripple * xp.cos(2 * math.pi * x), 0.0, 2 + ripple * xp.cos(2 * math.pi * y)


@dataclass(frozen=True)
class Hill(_Parametric, Landscape):
    """A round hill on a plain: ``f = h₀ / (1 + (x² + y²)/R²)``.

    The top, h₀, is at the origin; at the distance R the height is h₀/2. There is
    no minimum: f falls towards 0 for ever. The slope is steepest, 3√3/8 · h₀/R,
    at the distance R/√3.

    Args:
        height: h₀ > 0; 1, so that values read as parts of the top.
        radius: R > 0; 4, so that the bounds ±2.5 R are the square [−10, 10]² on
            which this function is usually drawn.

    Raises:
        UsageError: a parameter that is not above 0, or no finite number.
    """

    height: float = 1.0
    radius: float = 4.0

    name: ClassVar[str] = "Hill"
    minima: ClassVar[Points] = ()

    def __post_init__(self) -> None:
        self._set("height", above=0)
        self._set("radius", above=0)

    @property
    def bounds(self) -> Bounds:
        """±2.5 R both ways: [−10, 10]² for R = 4."""
        reach = 2.5 * self.radius
        return (-reach, reach), (-reach, reach)

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return self.height / self._fall(x, y)

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        inward = -2 * self.height / self.radius**2 / self._fall(x, y) ** 2
        return inward * x, inward * y

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        fall = self._fall(x, y)
        inward = -2 * self.height / self.radius**2 / fall**2
        outward = 8 * self.height / self.radius**4 / fall**3
        return inward + outward * x**2, outward * x * y, inward + outward * y**2

    def _fall(self, x: Array, y: Array) -> Array:
        return 1 + (x**2 + y**2) / self.radius**2
