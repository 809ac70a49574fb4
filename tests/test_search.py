"""Search: where a space is open, what is drawn from it, and that nothing drawn leaves it."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from recipe_spaces import recipes
from thalweg import losses, optimizers, penalties, schedules
from thalweg.errors import UsageError
from thalweg.ranges import Choice, Integers, LogUniform, Range, choice, integers, log_uniform, uniform
from thalweg.recipe import Recipe
from thalweg.recipe_files import encode
from thalweg.search import METHODS, active, children, describe, dimensions, draw, grid, option_index, resolve, sample

SPACE = Recipe(
    loss=choice(losses.Softmax(), losses.Hinge()),
    penalty=choice(penalties.L2(log_uniform(1e-6, 1e-1)), penalties.ElasticNet(log_uniform(1e-4, 1), uniform(0, 2))),
    optimizer=optimizers.Adam(schedules.Cosine(log_uniform(1e-4, 1e-1), floor=choice(0.0, uniform(1e-5, 1e-4)))),
    batch_size=choice(32, 64, "full"),
    epochs=integers(5, 9),
)


def admits(space, value):
    """Whether a value may have come from a place in a space; an independent reading of ranges and choices."""
    if isinstance(space, Choice):
        return any(admits(option, value) for option in space.options)
    if isinstance(space, Range):
        kind = int if isinstance(space, Integers) else (int, float)
        return isinstance(value, kind) and space.low <= value <= space.high  # what is left open is None: no number
    if isinstance(space, (eqx.Module, tuple)):
        inside = dict(children(value))
        return type(space) is type(value) and all(admits(child, inside[name]) for name, child in children(space))
    return space is None or (space == value and type(space) is type(value))  # None: filled in by a convention


@given(recipes(), st.data())
@settings(max_examples=150)
def test_whatever_is_resolved_lies_in_the_space(space, data):
    # Conventions fill in what they lack only when known, and not all of them have all defaults.
    u = st.floats(0, 1, exclude_max=True)
    coordinates = {dimension.path: data.draw(u) for dimension in dimensions(space)}
    trial = resolve(space, coordinates)
    assert dimensions(trial) == []
    assert admits(space, trial)
    assert resolve(space, coordinates) == trial
    assert resolve(trial, {}) is trial  # nothing open, nothing rebuilt


def test_names_and_paths_of_open_places():
    assert [d.name for d in dimensions(SPACE)] == [
        "loss", "penalty", "penalty.strength", "penalty.strength", "penalty.beta",
        "optimizer.learning_rate.peak", "optimizer.learning_rate.floor", "optimizer.learning_rate.floor",
        "batch_size", "epochs",
    ]  # fmt: skip
    paths = [d.path for d in dimensions(SPACE)]
    assert len(set(paths)) == len(paths)
    step = Recipe(optimizer=optimizers.SGD(schedules.Step(0.1, (integers(1, 3), 9))))
    assert [d.name for d in dimensions(step)] == ["optimizer.learning_rate.at.0"]
    assert dimensions(Recipe()) == []


def test_only_what_bears_on_a_trial_is_active():
    coordinates = dict.fromkeys((d.path for d in dimensions(SPACE)), 0.25)
    assert [d.name for d in active(SPACE, coordinates)] == [
        "loss", "penalty", "penalty.strength", "optimizer.learning_rate.peak", "optimizer.learning_rate.floor",
        "batch_size", "epochs",
    ]  # fmt: skip
    nested = Recipe(loss=choice(losses.Softmax(), choice(losses.Hinge(), losses.Softmax())))
    paths = [d.path for d in dimensions(nested)]
    assert paths == [("loss",), ("loss", "[1]")]
    assert len(active(nested, {paths[0]: 0.0, paths[1]: 0.9})) == 1
    assert len(active(nested, {paths[0]: 0.9, paths[1]: 0.9})) == 2


@given(recipes(), st.integers(0, 2**20))
@settings(max_examples=80)
def test_active_places_decide_the_trial(space, seed):
    """Moving a coordinate that does not bear on a trial leaves the trial as it was."""
    (coordinates,) = draw(space, 1, seed=seed, method="random") if dimensions(space) else ({},)
    bearing = {d.path for d in active(space, coordinates)}
    moved = {path: u if path in bearing else (u + 0.5) % 1 for path, u in coordinates.items()}
    assert resolve(space, moved) == resolve(space, coordinates)


def test_building_goes_through_the_constructors():
    """1 − β is formed in float64 for the drawn β, and the convention fills in what the drawn convention needs."""
    space = optimizers.Adam(0.1, beta2=log_uniform(0.9, 0.9999), convention=choice("thalweg", "keras"))
    paths = {d.name: d.path for d in dimensions(space)}
    trial = resolve(space, {paths["beta2"]: 0.999, paths["convention"]: 0.9})
    assert trial.one_minus_beta2 == 1 - trial.beta2
    assert trial.epsilon == 1e-7  # Keras'
    assert resolve(space, {paths["beta2"]: 0.5, paths["convention"]: 0.1}).epsilon == 1e-8


def test_a_module_of_ones_own_is_left_as_it_is():
    """A part with nothing open is not built anew: its constructor may take other arguments than it has fields."""

    class Odd(eqx.Module):
        offset: float

        def __init__(self, base):
            self.offset = base + 1

        def __call__(self, scores, labels):
            return scores[:, 0] + self.offset

    odd = Odd(1.0)
    space = Recipe(loss=choice(odd, losses.Hinge()), epochs=integers(1, 5))
    assert resolve(space, {("loss",): 0.0, ("epochs",): 0.0}).loss is odd


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_draws_are_reproducible_and_differ_by_seed(method):
    first, again, other = (draw(SPACE, 8, seed=seed, method=method) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) == 8
    assert all(0 <= u < 1 for coordinates in first for u in coordinates.values())
    assert len(sample(SPACE, 8, seed=1, method=method)) == 8


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 33])
def test_sobol_is_scipys_scrambled_sequence(count):
    drawn = draw(SPACE, count, seed=4)
    paths = [d.path for d in dimensions(SPACE)]
    rng = np.random.default_rng(4)
    expected = qmc.Sobol(len(paths), scramble=True, rng=rng).random_base2(math.ceil(math.log2(count)))[:count]
    assert [[c[path] for path in paths] for c in drawn] == expected.tolist()


def test_sobol_fills_a_space_more_evenly_than_chance():
    space = penalties.ElasticNet(uniform(0, 1), uniform(0, 1))

    def discrepancy(method):
        points = [list(c.values()) for c in draw(space, 64, seed=0, method=method)]
        return qmc.discrepancy(np.asarray(points))

    assert discrepancy("sobol") < discrepancy("random") / 5


def test_log_uniform_draws_are_uniform_in_the_logarithm():
    strengths = [trial.strength for trial in sample(penalties.L2(log_uniform(1e-6, 1e-2)), 256)]
    decades = np.histogram(np.log10(strengths), bins=[-6, -5, -4, -3, -2])[0]
    assert decades.tolist() == [64] * 4  # a Sobol sequence of 256 points is exactly balanced over quarters


def test_grid_is_the_product_of_the_ranges():
    trials = grid(SPACE, points=3)
    # losses × (L2: 3, elastic net: 3·3) × peaks × floors (0, or 3) × batch sizes × epochs 5, 7, 9
    assert len(trials) == 2 * (3 + 9) * 3 * (1 + 3) * 3 * 3
    assert len(set(trials)) == len(trials)
    assert all(admits(SPACE, trial) for trial in trials)
    assert {trial.epochs for trial in trials} == {5, 7, 9}
    peaks = sorted({trial.optimizer.learning_rate.peak for trial in trials})
    assert peaks[0] == 1e-4  # both ends are included, to the last digit
    assert peaks[-1] == 1e-1
    assert peaks[1] == pytest.approx(math.sqrt(1e-5), rel=1e-12)


@given(recipes(), st.integers(2, 4))
# Most recipes span more than 200 points, and are passed over; that costs next to nothing.
@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
def test_size_of_a_grid(space, points):
    def size(node):
        if isinstance(node, Choice):
            return sum(map(size, node.options))
        if isinstance(node, Integers):
            return min(points, node.high - node.low + 1)
        return points if isinstance(node, Range) else math.prod(size(child) for _, child in children(node))

    assume(size(space) < 200)
    coordinates = draw(space, 1, method="grid", points=points)
    assert len(coordinates) == size(space)
    assert all(admits(space, resolve(space, c)) for c in coordinates)


def test_integers_need_no_points_and_ranges_do():
    assert [trial.epochs for trial in grid(Recipe(epochs=integers(3, 12)))] == list(range(3, 13))
    assert [trial.epochs for trial in grid(Recipe(epochs=integers(3, 12)), points=2)] == [3, 12]
    assert [trial.epochs for trial in grid(Recipe(epochs=integers(3, 4)), points=9)] == [3, 4]
    with pytest.raises(UsageError, match=r"a grid over penalty\.strength = log_uniform\(0\.001, 1\) needs a number of"):
        grid(Recipe(penalty=penalties.L2(log_uniform(1e-3, 1))))


@given(st.integers(-1000, 1000), st.integers(1, 400))
def test_every_whole_number_of_a_range_is_reached_exactly_once(low, extent):
    space = [Integers(low, low + extent)]
    assert [resolve(space, c)[0] for c in draw(space, 1, method="grid")] == list(range(low, low + extent + 1))


def test_a_small_space_of_choices_is_listed_whole():
    space = Recipe(loss=choice(losses.Softmax(), losses.Hinge()), epochs=integers(1, 3))
    assert len(set(sample(space, 6))) == 6
    assert len(sample(space, 100)) == 6
    assert len(sample(space, 5)) == 5  # fewer than there are: drawn
    assert sample(Recipe(), 10) == [Recipe()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "sobel"}, r"search is 'sobel'; it must be one of sobol, random, grid \(did you mean 'sobol'\?\)"),
        ({"method": None}, "search is None"),
        ({"count": 0}, "search: trials is 0"),
        ({"count": 2.5}, r"search: trials is 2\.5"),
        ({"count": True}, "search: trials is True"),
        ({"seed": -1}, "search: seed is -1"),
        ({"method": "grid", "points": 1}, "grid: points is 1; it must be finite and at least 2"),
        ({"method": "grid", "points": 2.5}, r"grid: points is 2\.5"),
        ({"method": "grid", "points": 10_000}, "the grid has more than 1,000,000 trials; give fewer points"),
    ],
)
def test_faults(arguments, message):
    space = penalties.ElasticNet(uniform(0, 1), uniform(0, 1))
    with pytest.raises(UsageError, match=message):
        draw(space, **{"count": 4, **arguments})


def test_a_grid_too_large_for_memory_is_refused_before_it_is_built():
    with pytest.raises(UsageError, match="the grid has more than"):
        grid(Recipe(seed=integers(0, 2**32 - 1)))


def test_method_names_are_all_served():
    for method in METHODS:
        assert draw(SPACE, 2, method=method, points=2)


def test_description_names_each_open_place():
    lines = describe(SPACE)
    assert lines[0] == "loss: one of Softmax, Hinge"
    assert lines[2] == "penalty.strength: log_uniform from 1e-06 to 0.1"
    assert "optimizer.learning_rate.floor: one of 0.0, uniform from 1e-05 to 0.0001" in lines
    assert lines[-2:] == ["batch_size: one of 32, 64, full", "epochs: integers from 5 to 9"]
    assert describe(optimizers.SGD(0.1, choice(None, 0.9))) == ["momentum: one of None, 0.9"]


@given(st.integers(1, 50), st.floats(0, 1))
def test_options_share_the_coordinate_evenly(count, u):
    index = option_index(Choice(tuple(range(count))), u)
    assert 0 <= index < count
    assert index <= u * count <= index + 1


def test_a_range_keeps_its_place_through_a_seed():
    """What is drawn for one dimension depends on the space's open places alone, not on its fixed numbers."""
    one, two = (Recipe(penalty=penalties.L2(log_uniform(1e-3, 1)), epochs=epochs) for epochs in (1, 2))
    assert draw(one, 4) == draw(two, 4)
    assert encode(sample(one, 4)[3])["penalty"] == encode(sample(two, 4)[3])["penalty"]
    assert dataclasses.replace(sample(one, 4)[3], epochs=2) == sample(two, 4)[3]


def test_log_uniform_ends_are_exact():
    space = LogUniform(1e-7, 3e5)
    assert [resolve([space], {("0",): u})[0] for u in (0.0, 1.0)] == [1e-7, 3e5]


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_no_trial_is_drawn_twice(method):
    space = Recipe(
        loss=choice(losses.Softmax(), losses.Hinge()), batch_size=choice(16, 32, 64, 128), epochs=integers(1, 5)
    )
    drawn = draw(space, 32, seed=3, method=method)
    recipes = [resolve(space, coordinates) for coordinates in drawn]
    assert len(drawn) == 32  # of 40
    assert len({(type(r.loss), r.batch_size, r.epochs) for r in recipes}) == 32
