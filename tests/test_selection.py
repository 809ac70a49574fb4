"""Selection: the winner, what ties with it, and how sure that is; every statistic against an oracle."""

from __future__ import annotations

import json
import math

import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from thalweg import losses, optimizers, penalties, schedules
from thalweg.errors import DivergedError, UsageError
from thalweg.ranges import choice, integers, log_uniform, uniform
from thalweg.recipe import Recipe
from thalweg.search import dimensions, draw, resolve
from thalweg.selection import Edge, edges, select
from thalweg.statistics import holm, mcnemar, standard_error, wilson
from thalweg.training.records import METRICS, TrialRecord
from thalweg.training.status import Status

N = 100


def record(right=50, *, loss=1.0, norm=1.0, status=None, correct=None, kept=2):
    """A trial that predicts the first ``right`` of N validation examples right, in two epochs."""
    if correct is None:
        correct = np.arange(N) < right
    history = {name: [0.0, 0.0] for name in METRICS}
    history["validation_accuracy"] = [0.99, float(np.mean(correct))] if kept == 2 else [float(np.mean(correct)), 0.99]
    history["validation_loss"] = [0.0, loss] if kept == 2 else [loss, 0.0]
    history["weight_norm"] = [0.0, norm] if kept == 2 else [norm, 0.0]
    return TrialRecord(status or Status.completed(2), history, kept_epoch=kept, correct=correct)


def recipes(count):
    return [Recipe(penalty=penalties.L2(1e-3 * (i + 1))) for i in range(count)]


def diverged():
    return record(99, status=Status.diverged(3, 1))


def test_the_highest_accuracy_at_the_kept_epoch_wins():
    records = [record(60), record(80), record(70, kept=1)]
    selection = select(recipes(3), records)
    assert (selection.best, selection.rule) == (1, "best")
    assert selection.group.trials == (1,)
    assert selection.group.mean == 0.8
    assert [group.mean for group in selection.groups] == [0.6, 0.8, 0.7]


def test_ties_go_to_the_lower_loss_and_then_to_the_first():
    assert select(recipes(3), [record(loss=3.0), record(loss=1.0), record(loss=2.0)]).best == 1
    assert select(recipes(3), [record(loss=3.0), record(loss=1.0), record(loss=1.0)]).best == 1
    assert select(recipes(2), [record(51, loss=9.0), record(50, loss=1.0)]).best == 0


def test_seeds_are_grouped_and_ranked_by_their_mean():
    one, two = recipes(2)
    space = [Recipe(penalty=r.penalty, seed=seed) for r in (one, two) for seed in (0, 1, 2)]
    rights = [90, 50, 50, 70, 72, 68]  # one lucky seed does not make a good recipe
    selection = select(space, [record(right) for right in rights])
    assert [group.trials for group in selection.groups] == [(0, 1, 2), (3, 4, 5)]
    assert selection.group is selection.groups[1]
    assert selection.best == 4  # its best seed
    assert selection.group.mean == pytest.approx(0.7)
    assert selection.group.spread == pytest.approx(np.std([0.7, 0.72, 0.68], ddof=1))
    assert list(selection.p_values) == [0]  # the other group is represented by its best trial
    assert select(recipes(1), [record()]).group.spread is None


def test_a_recipe_of_which_a_seed_diverged_is_taken_only_if_there_is_no_other():
    pairs = [Recipe(penalty=penalties.L2(s), seed=seed) for s in (1e-3, 1e-2) for seed in (0, 1)]
    records = [record(90), diverged(), record(60), record(61)]
    selection = select(pairs, records)
    assert selection.best == 3
    assert [group.diverged for group in selection.groups] == [1, 0]
    assert 0 in selection.p_values
    assert select(pairs, [record(90), diverged(), diverged(), diverged()]).best == 0
    assert select(pairs, [record(90), diverged(), record(60), diverged()]).best == 0
    assert [group.trials for group in select(pairs, [*records[:3], diverged()]).groups] == [(0,), (2,)]


def test_functions_of_one_name_are_not_one_recipe():
    """All Optax chains are made of functions of the same name: by name these two would be two seeds of one recipe."""
    pair = [Recipe(optimizer=optax.adam(1e-3), seed=0), Recipe(optimizer=optax.adam(1e-1), seed=1)]
    assert len(select(pair, [record(), record()]).groups) == 2
    shared = optax.adam(1e-3)
    pair = [Recipe(optimizer=shared, seed=0), Recipe(optimizer=shared, seed=1)]
    assert len(select(pair, [record(), record()]).groups) == 1


def test_all_diverged():
    with pytest.raises(DivergedError, match=r"^all 3 trials diverged, so there is nothing to select: search smaller"):
        select(recipes(3), [diverged()] * 3)


def test_only_finished_trials_compete_while_there_are_any():
    cut = Status.interrupted(1, 2)
    pruned = Status.pruned(1, 1, 0.9, 1, 3)
    records = [
        record(90, status=cut),
        record(60),
        record(95, status=pruned),
        record(50, status=Status.stopped(2, 1, 1)),
    ]
    selection = select(recipes(4), records)
    assert selection.best == 1
    assert [group.trials for group in selection.groups] == [(1,), (3,)]


def test_what_an_interruption_left_competes_where_nothing_finished():
    cut = Status.interrupted(1, 2)
    never = TrialRecord(Status.interrupted(0, 2))  # cut before its first epoch: nothing to go by
    selection = select(recipes(5), [record(70, status=cut), record(80, status=cut), diverged(), never, TrialRecord()])
    assert selection.best == 1
    assert [group.trials for group in selection.groups] == [(0,), (1,)]


def test_an_unknown_rule():
    with pytest.raises(UsageError, match=r"selection is 'bets'; it must be one of best, one-.* \(did you mean 'best'"):
        select(recipes(1), [record()], rule="bets")


class TestOneStandardError:
    """p = 0.8 of n = 100: one standard error is √(0.8·0.2/100) = 0.04."""

    RULE = "one-standard-error"

    def test_takes_the_smallest_norm_within_one_standard_error(self):
        records = [record(80, norm=10.0), record(77, norm=5.0), record(76, norm=3.0), record(75, norm=1.0)]
        selection = select(recipes(4), records, self.RULE)
        assert (selection.best, selection.rule) == (2, self.RULE)
        assert select(recipes(4), records, "best").best == 0

    def test_penalties_of_different_kinds_compare(self):
        parts = [penalties.L1(0.1), penalties.L2(1e-5), penalties.ElasticNet(1.0, 1.0), penalties.NoPenalty()]
        kinds = [Recipe(penalty=part) for part in parts]
        records = [record(80, norm=4.0), record(79, norm=2.0), record(78, norm=1.0), record(80, norm=9.0)]
        assert select(kinds, records, self.RULE).best == 2

    def test_a_perfect_winner_has_no_standard_error(self):
        records = [record(100, norm=2.0), record(99, norm=1.0), record(100, norm=1.5)]
        assert select(recipes(3), records, self.RULE).best == 2

    def test_groups_are_compared_by_their_means(self):
        pairs = [Recipe(penalty=penalties.L2(s), seed=seed) for s in (1e-3, 1e-2, 1e-1) for seed in (0, 1)]
        records = [record(80, norm=9.0), record(80, norm=9.0), record(90, norm=1.0), record(50, norm=1.0)]
        records += [record(76, norm=2.0), record(78, norm=2.0)]
        assert select(pairs, records, self.RULE).best == 5

    def test_a_diverged_seed_still_counts_against_a_recipe(self):
        pairs = [Recipe(penalty=penalties.L2(s), seed=seed) for s in (1e-3, 1e-2) for seed in (0, 1)]
        records = [record(80, norm=9.0), record(80, norm=9.0), record(80, norm=1.0), diverged()]
        assert select(pairs, records, self.RULE).best in (0, 1)


BITS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200)


@given(BITS)
def test_mcnemar_is_the_exact_binomial_test(pairs):
    first, second = (np.array(bits, bool) for bits in (zip(*pairs, strict=True) if pairs else ((), ())))
    b, c = np.sum(first & ~second), np.sum(second & ~first)
    expected = binomtest(int(b), int(b + c), 0.5).pvalue if b + c else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_mcnemar_by_hand():
    first = np.array([True] * 6 + [False] * 1 + [True] * 9)
    second = np.array([False] * 6 + [True] * 1 + [True] * 9)
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 7) / 2**7, rel=1e-14)
    assert mcnemar(first, first) == 1.0


def naive_holm(p_values):
    """Holm's procedure as he gives it, for adjusted p-values: the least level at which each would be rejected."""
    count = len(p_values)
    order = sorted(range(count), key=lambda i: p_values[i])
    return [min(1.0, max((count - k) * p_values[order[k]] for k in range(order.index(i) + 1))) for i in range(count)]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_step_down_procedure(p_values):
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(naive_holm(p_values), rel=1e-14)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.integers(1, 10**6), st.data())
@settings(max_examples=200)
def test_wilson_is_the_score_interval(count, data):
    correct = data.draw(st.integers(0, count) | st.sampled_from((0, count)))
    low, high = wilson(correct, count)
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-15)
    assert 0 <= low <= correct / count <= high <= 1
    z2 = 1.959963984540054**2
    for bound in (low, high):
        if 0 < bound < 1:  # its definition: the shares that a score test at 5 % does not refuse
            assert (correct / count - bound) ** 2 == pytest.approx(
                z2 * bound * (1 - bound) / count, rel=1e-6, abs=1e-15
            )


def test_wilson_at_the_ends_is_exact():
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[1] == pytest.approx(1 - wilson(10, 10)[0], rel=1e-14)


@pytest.mark.parametrize(("correct", "count"), [(1, 0), (-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_share(correct, count):
    with pytest.raises(UsageError, match="is no share"):
        wilson(correct, count)


def test_the_standard_error_is_never_0_and_that_of_the_share_for_many_examples():
    for share in (0.0, 1.0):
        assert standard_error(share, 8) == pytest.approx((0.1 * 0.9 / 10) ** 0.5)
    assert standard_error(0.9, 100_000) == pytest.approx((0.9 * 0.1 / 100_000) ** 0.5, rel=1e-4)
    for share, count in ((1.1, 5), (-0.1, 5), (float("nan"), 5), (0.5, 0)):
        with pytest.raises(UsageError, match="is no share"):
            standard_error(share, count)


def test_ties_are_those_that_the_paired_test_cannot_tell_from_the_winner():
    best = np.arange(N) < 80
    swapped = np.roll(best, 10)  # as many right: 10 each way
    close = np.arange(N) < 76  # four examples fewer, p = 2/16 before adjustment
    far = np.arange(N) < 60  # twenty fewer
    selection = select(recipes(4), [record(correct=c) for c in (best, swapped, close, far)])
    assert selection.best == 0
    assert selection.tied == (1, 2)
    assert selection.p_values == pytest.approx(
        dict(zip((1, 2, 3), holm([1.0, 2 * 2.0**-4, 2 * 2.0**-20]), strict=True))
    )


def errors(rng, trials, examples, shared):
    """Correctness of equally good classifiers: 80 % right, on a share of the examples all alike."""
    own = rng.random((trials, examples)) < 0.8
    return np.where(rng.random(examples) < shared, rng.random(examples) < 0.8, own)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_two_equal_classifiers_are_told_apart_in_at_most_five_of_a_hundred_sweeps(shared):
    rng = np.random.default_rng(0)
    both = recipes(2)
    runs = 600
    told = sum(not select(both, [record(correct=c) for c in errors(rng, 2, 400, shared)]).tied for _ in range(runs))
    assert told <= 0.05 * runs + 2 * math.sqrt(runs * 0.05 * 0.95)
    assert told > 0  # a test that never tells anything apart would pass the line above


def test_among_many_equal_trials_any_given_one_stays_with_the_best():
    """What the tied list promises: the truly best trial is in it. Here all are best, so any one will do."""
    rng = np.random.default_rng(1)
    eight = recipes(8)
    runs, lost = 300, 0
    for _ in range(runs):
        selection = select(eight, [record(correct=c) for c in errors(rng, 8, 400, 0.5)])
        lost += 3 not in (selection.best, *selection.tied)
    assert lost <= 0.05 * runs


def test_a_better_trial_is_told_from_a_worse_one():
    rng = np.random.default_rng(2)
    good, bad = rng.random((2, 2000)) < np.array([[0.8], [0.7]])
    selection = select(recipes(2), [record(correct=bad), record(correct=good)])
    assert (selection.best, selection.tied) == (1, ())


# Edges


def edge_names(space, **at):
    """Names and sides of the edges of the trial whose coordinates are ½ but where said."""
    coordinates = {d.path: at.get(d.name.replace(".", "_"), 0.5) for d in dimensions(space)}
    return [(edge.name, edge.side) for edge in edges(space, coordinates)]


@pytest.mark.parametrize(
    ("u", "found"),
    [(0.0, "low"), (0.049, "low"), (0.051, None), (0.5, None), (0.949, None), (0.951, "high"), (1.0, "high")],
)
def test_the_outer_twentieth_of_a_range_is_its_edge(u, found):
    for place in (log_uniform(1e-6, 1e-1), uniform(0, 1)):
        space = Recipe(penalty=penalties.L2(place))
        assert edge_names(space, penalty_strength=u) == ([("penalty.strength", found)] if found else [])


def test_an_edge_says_what_to_do():
    space = Recipe(penalty=penalties.L2(log_uniform(1e-6, 1e-1)))
    (edge,) = edges(space, {("penalty", "strength"): 0.0})
    assert edge == Edge("penalty.strength", 1e-6, 1e-6, 0.1, "low")
    assert edge.sentence() == (
        "penalty.strength = 1e-06 lies at the low edge of its range [1e-06, 0.1]: a wider range may do better"
    )


def test_whole_numbers():
    space = Recipe(epochs=integers(1, 10))
    found = [edge_names(space, epochs=(k + 0.5) / 10) for k in range(10)]
    assert found == [[("epochs", "low")], *[[]] * 8, [("epochs", "high")]]
    wide = Recipe(epochs=integers(1, 1000))
    assert edge_names(wide, epochs=0.01) == [("epochs", "low")]  # 11 of 1,000 is at the edge as well
    assert edge_names(Recipe(epochs=integers(1, 2)), epochs=0.1) == []  # of two numbers each is an end


def test_choices_of_numbers():
    space = Recipe(batch_size=choice(64, 16, 32))
    assert edge_names(space, batch_size=0.1) == [("batch_size", "high")]
    assert edge_names(space, batch_size=0.5) == [("batch_size", "low")]
    assert edge_names(space, batch_size=0.9) == []
    for options in [(16, 32), (16, 32, "full"), (16, 32, 32)]:
        assert edge_names(Recipe(batch_size=choice(*options)), batch_size=0.1) == []
    assert edge_names(Recipe(loss=choice(losses.Softmax(), losses.Hinge(), losses.Hinge())), loss=0.1) == []


def test_seeds_have_no_edge():
    assert edge_names(Recipe(seed=integers(0, 9)), seed=0.0) == []
    assert edge_names(Recipe(seed=choice(0, 1, 2)), seed=0.0) == []


def test_only_the_options_taken_have_edges():
    space = Recipe(penalty=choice(penalties.L2(uniform(0, 1)), penalties.L1(uniform(0, 2))))
    coordinates = {d.path: 0.0 for d in dimensions(space)}
    assert [(e.name, e.high) for e in edges(space, coordinates)] == [("penalty.strength", 1)]
    coordinates[("penalty",)] = 0.9
    assert [(e.name, e.high) for e in edges(space, coordinates)] == [("penalty.strength", 2)]


def test_ends_of_a_grid_are_edges():
    space = Recipe(
        optimizer=optimizers.SGD(schedules.Constant(log_uniform(1e-3, 1))),
        penalty=choice(penalties.NoPenalty(), penalties.L2(uniform(0, 1))),
    )
    found = [edges(space, coordinates) for coordinates in draw(space, 1, method="grid", points=3)]
    assert len(found) == (1 + 3) * 3
    middle = [f for f in found if not f]
    assert len(middle) == 2  # rate in the middle; no penalty, or a strength in the middle
    for coordinates, places in zip(draw(space, 1, method="grid", points=3), found, strict=True):
        trial = resolve(space, coordinates)
        rate = trial.optimizer.learning_rate.value
        assert (rate in (1e-3, 1)) == ("optimizer.learning_rate.value" in [edge.name for edge in places])


def test_a_selection_can_be_written_as_json():
    selection = select(recipes(2), [record(60), record(70)])
    json.dumps({"p": dict(selection.p_values), "tied": selection.tied, "best": selection.best})
    assert all(type(number) is int for number in selection.p_values)
