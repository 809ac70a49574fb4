"""Why regularise: a polynomial through every point, one that generalises, and the curvature that L2 adds.

    python examples/lesson_regularise.py --out regularise.png

Three panels. Left, fifteen noisy points of a sine: the polynomial of degree 14 meets them all and misses the curve
between them; of degree 3, or of degree 14 with a penalty, it does not meet them and is nearer the curve. Middle, the
loss on the points and on others of the same kind against the strength λ of the penalty: the one only rises with λ, the
other falls first. Right, why: the penalty λ Σ c² adds 2λ to every eigenvalue of the Hessian, which holds the
directions that the points hardly determine, and leaves the others as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.polynomial.polynomial import polyval

from thalweg.data.toy import polynomial_fit
from thalweg.penalties import L2
from thalweg.plot.theme import LINES, themed
from thalweg.precision import double
from thalweg.solvers import Newton

POINTS, DEGREE, NOISE = 15, 14, 0.3
STRENGTHS = np.geomspace(1e-9, 10, 41)


@dataclass(frozen=True)
class Lesson:
    """What the three panels show; strengths (S,), coefficients (S, DEGREE + 1) from c_0 on, eigenvalues (DEGREE,)."""

    x: np.ndarray
    y: np.ndarray
    exact: np.ndarray
    simple: np.ndarray
    strengths: np.ndarray
    coefficients: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    eigenvalues: np.ndarray  # of the Hessian of the training loss, falling
    stiffened: np.ndarray  # of the same with the penalty of the best strength

    @property
    def best(self) -> int:
        """The place of the strength with the lowest validation loss."""
        return int(np.argmin(self.validation))


def truth(x: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * x)


def objective(c: jax.Array, powers: jax.Array, y: jax.Array, strength: jax.Array) -> jax.Array:
    """(1/N) Σ (p(x_i) − y_i)² + λ Σ c_k², for centred powers and y: so the bias, unpenalised, is solved for already."""
    return jnp.mean(jnp.square(powers @ c - y)) + L2(strength).value(c)


def learn() -> Lesson:
    generator = np.random.default_rng(0)
    x = np.linspace(-1, 1, POINTS)
    y = truth(x) + NOISE * generator.normal(size=POINTS)
    held = generator.uniform(-1, 1, 1000)
    held_y = truth(held) + NOISE * generator.normal(size=1000)

    powers = x[:, None] ** np.arange(1, DEGREE + 1)
    centred = powers - powers.mean(axis=0)
    # All strengths at once, by Newton's method: the objective is quadratic, so a step or two from anywhere will do.
    solution = Newton().solve(
        objective, np.zeros((len(STRENGTHS), DEGREE)), centred, y - y.mean(), STRENGTHS,
        batched=True, in_axes=(None, None, 0), strong_convexity=2 * STRENGTHS,
    )  # fmt: skip
    biases = y.mean() - solution.weights @ powers.mean(axis=0)
    coefficients = np.column_stack([biases, solution.weights])
    training, validation = (
        np.array([np.mean((polyval(a, c) - b) ** 2) for c in coefficients]) for a, b in ((x, y), (held, held_y))
    )

    def curvature(strength: float) -> np.ndarray:
        with double():
            hessian = jax.hessian(objective)(jnp.zeros(DEGREE), centred, y - y.mean(), strength)
            return np.linalg.eigvalsh(np.asarray(hessian))[::-1]

    return Lesson(
        x, y, polynomial_fit(x, y, DEGREE), polynomial_fit(x, y, 3), STRENGTHS, coefficients, training, validation,
        curvature(0.0), curvature(float(STRENGTHS[np.argmin(validation)])),
    )  # fmt: skip


def draw(lesson: Lesson, dark: bool = False) -> Figure:
    theme = themed(dark)
    figure = Figure(figsize=(12.6, 4.2), layout="constrained")
    curves, losses, curvature = figure.subplots(1, 3)
    strength = lesson.strengths[lesson.best]

    places = np.linspace(-1, 1, 400)
    curves.plot(places, truth(places), color=theme.faint, linewidth=5, label="the true curve")
    for place, (name, c) in enumerate(
        ((f"degree {DEGREE}, exact", lesson.exact), ("degree 3", lesson.simple),
         (f"degree {DEGREE}, λ = {strength:.0e}", lesson.coefficients[lesson.best]))
    ):  # fmt: skip
        curves.plot(places, polyval(places, c), color=theme.colour(place), linestyle=LINES[place][0], label=name)
    curves.plot(lesson.x, lesson.y, "o", color=theme.ink, markersize=5, label="points, with noise")
    curves.set(xlabel="x", ylabel="y", title="Through every point, or near the curve", ylim=(-1.9, 2.9))
    curves.legend(fontsize=8, ncols=2, loc="upper center")

    for place, (name, values) in enumerate((("training", lesson.training), ("validation", lesson.validation))):
        losses.plot(lesson.strengths, values, color=theme.colour(place), linestyle=LINES[place][0], label=name)
    losses.plot(strength, lesson.validation[lesson.best], "*", color=theme.colour(1), markersize=12, label="lowest")
    losses.axhline(NOISE**2, color=theme.ink, linestyle=":", linewidth=1, label="the noise's variance")
    losses.set(xscale="log", yscale="log", xlabel="strength λ of the penalty", ylabel="mean squared error",
               title="The loss on other points falls, then rises")  # fmt: skip
    losses.legend(fontsize=8)

    numbers = np.arange(1, DEGREE + 1)
    for place, (name, values) in enumerate((("λ = 0", lesson.eigenvalues), (f"λ = {strength:.0e}", lesson.stiffened))):
        style, marker = LINES[place]
        curvature.plot(numbers, values, color=theme.colour(place), linestyle=style, marker=marker, label=name)
    curvature.axhline(2 * strength, color=theme.ink, linestyle=":", linewidth=1, label="2λ")
    curvature.set(yscale="log", xlabel="direction, from stiff to slack", ylabel="eigenvalue of the Hessian",
                  title="L2 adds 2λ to every curvature", xticks=numbers)  # fmt: skip
    curvature.legend(fontsize=8)
    return theme.dress(figure)


def main(out: Path = Path("lesson_regularise.png")) -> Lesson:
    """Learn, draw, and say what is to be seen."""
    lesson = learn()
    draw(lesson).savefig(out, dpi=80)
    held = np.linspace(-1, 1, 400)
    for name, c in (
        (f"degree {DEGREE}, exact", lesson.exact), ("degree 3", lesson.simple),
        (f"degree {DEGREE}, λ = {lesson.strengths[lesson.best]:.1e}", lesson.coefficients[lesson.best]),
    ):  # fmt: skip
        error = np.sqrt(np.mean((polyval(held, c) - truth(held)) ** 2))
        miss = np.abs(polyval(lesson.x, c) - lesson.y).max()
        print(f"{name:24} furthest from a point {miss:8.1e}, root mean square distance to the curve {error:.2f}")
    print(f"condition number {lesson.eigenvalues[0] / lesson.eigenvalues[-1]:.1e} without the penalty, "
          f"{lesson.stiffened[0] / lesson.stiffened[-1]:.1e} with it")  # fmt: skip
    print(f"picture: {out}")
    return lesson


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_regularise.png"), help="where to write the picture")
    main(parser.parse_args().out)
