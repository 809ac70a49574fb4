"""The example on regularising: its solver against the closed form, its curvature against theory, its picture."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial.polynomial import polyval
from PIL import Image

from thalweg.data.toy import polynomial_fit

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import lesson_regularise as example


@pytest.fixture(scope="module")
def lesson() -> example.Lesson:
    return example.learn()


def test_the_solver_finds_the_closed_form(lesson: example.Lesson) -> None:
    places = np.linspace(-1, 1, 101)
    for strength, found in zip(lesson.strengths, lesson.coefficients, strict=True):
        closed = polynomial_fit(lesson.x, lesson.y, example.DEGREE, float(strength))
        # The smallest strength leaves a condition number of 1e9: seven digits of float64's sixteen.
        np.testing.assert_allclose(found, closed, rtol=0, atol=1e-6 * np.abs(closed).max())
        np.testing.assert_allclose(polyval(places, found), polyval(places, closed), atol=1e-6)


def test_the_exact_polynomial_meets_the_points_and_misses_the_curve(lesson: example.Lesson) -> None:
    places = np.linspace(-1, 1, 400)
    penalised = lesson.coefficients[lesson.best]
    np.testing.assert_allclose(polyval(lesson.x, lesson.exact), lesson.y, atol=1e-10)
    away = [np.sqrt(np.mean((polyval(places, c) - example.truth(places)) ** 2)) for c in
            (lesson.exact, lesson.simple, penalised)]  # fmt: skip
    assert away[0] > 3 * max(away[1:])


def test_training_loss_rises_and_validation_loss_falls_and_rises(lesson: example.Lesson) -> None:
    assert (np.diff(lesson.training) > 0).all()
    assert 0 < lesson.best < len(lesson.strengths) - 1
    assert lesson.validation[0] > 1.5 * lesson.validation[lesson.best]
    assert lesson.validation[-1] > 1.5 * lesson.validation[lesson.best]
    assert lesson.validation.min() > example.NOISE**2  # nothing predicts the noise


def test_l2_adds_twice_its_strength_to_every_eigenvalue(lesson: example.Lesson) -> None:
    added = lesson.stiffened - lesson.eigenvalues
    np.testing.assert_allclose(added, 2 * lesson.strengths[lesson.best], rtol=1e-9)
    powers = lesson.x[:, None] ** np.arange(1, example.DEGREE + 1)
    singular = np.linalg.svd(powers - powers.mean(axis=0)[None], compute_uv=False)
    # Rounding of the Hessian, relative to its largest eigenvalue, drowns the digits of the smallest.
    np.testing.assert_allclose(lesson.eigenvalues, 2 / len(lesson.x) * singular**2, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_has_three_panels(lesson: example.Lesson, dark: bool) -> None:
    figure = example.draw(lesson, dark)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "x", "strength λ of the penalty", "direction, from stiff to slack",
    ]  # fmt: skip


def test_it_runs_and_writes_its_picture(
    lesson: example.Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "learn", lambda: lesson)
    example.main(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size[0] > 900
    assert "degree 14, exact" in capsys.readouterr().out
