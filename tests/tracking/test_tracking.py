"""Trackers hear of every epoch of every trial, and nothing that they do spoils a run."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracker_cases import SPACE, Follower, Memory

import thalweg as tw
from thalweg.cli.app import run as command
from thalweg.recipe_files import flatten
from thalweg.testing import check_tracker
from thalweg.tracking import RunStart, TrialStart, parse_trackers
from thalweg.tracking.growing import GrowingRun
from thalweg.training import METRICS, STATUSES

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def tracked(small: Any) -> tuple[tw.Run, Memory]:
    """Four trials, of which one diverges and one is pruned, retold by a tracker."""
    memory = Memory()
    return tw.sweep(SPACE, small, halving=tw.Halving(2, 1), trackers=[memory]), memory


def test_a_tracker_hears_of_the_run_and_its_trials_first(tracked: Any) -> None:
    run, memory = tracked
    assert memory.calls[0][0] == "begin"
    (start,) = memory.heard("begin")
    assert start.data == run.data.name
    assert start.name.startswith(f"{run.data.name}-20")
    assert start.settings == run.settings
    assert [trial.number for trial in start.trials] == [0, 1, 2, 3]
    for told, trial in zip(start.trials, run.trials, strict=True):
        assert told.hyperparameters == flatten(trial.recipe)
    assert start.searched() == ("optimizer.learning_rate.value",)


def test_epochs_add_up_to_the_history_of_every_trial(tracked: Any) -> None:
    run, memory = tracked
    assert set(run.statuses) == {"completed", "pruned", "diverged"}
    told: dict[int, dict[str, list[float]]] = {n: {name: [] for name in METRICS} for n in range(4)}
    for epoch, metrics in memory.heard("epoch"):
        for number, row in metrics.items():
            assert epoch == len(told[number]["data_loss"]) + 1
            for name, value in row.items():
                told[number][name].append(value)
    for trial in run.trials:
        assert set(trial.history) == set(METRICS)
        for name, values in trial.history.items():
            np.testing.assert_array_equal(told[trial.number][name], values)


def test_a_tracker_that_asks_hears_of_each_trial_as_it_ends(tracked: Any, small: Any) -> None:
    run, follower = tracked[0], Follower()
    tw.sweep(SPACE, small, halving=tw.Halving(2, 1), trackers=[follower])
    ended = {number: end for told in follower.heard("ended") for number, end in told.items()}
    assert sum(len(told) for told in follower.heard("ended")) == len(run.trials)
    epoch = 0
    for name, told in follower.calls:
        epoch = told[0] if name == "epoch" else epoch
        for number in told if name == "ended" else ():
            assert epoch == len(run.trials[number].history["data_loss"])
    for trial in run.trials:
        end = ended[trial.number]
        assert (end.status, end.at, end.reason, end.kept_epoch) == (
            trial.status.name, trial.status.at, trial.status.reason, trial.kept_epoch
        )  # fmt: skip
    failing = Follower(ended=FULL)
    again = tw.sweep(SPACE, small, halving=tw.Halving(2, 1), trackers=[failing])
    assert len(failing.heard("ended")) == 1
    assert again.messages[0].startswith("the tracker Follower failed at the end of a trial and is told no more")


def test_what_is_told_fills_the_blank_run_up_to_the_result(small: Any) -> None:
    follower = Follower()
    run = tw.sweep(SPACE, small, patience=1, trackers=[follower])
    (start,) = follower.heard("begin")
    blank = start.run
    assert (blank.selection, blank.model, blank.test, blank.data) == (None, None, None, run.data)
    growing = GrowingRun(blank)
    for name, told in follower.calls[1:-1]:
        before = growing.so_far()
        assert {trial.status.name for trial in before.trials} <= {"training", *STATUSES}
        growing.epoch(*told) if name == "epoch" else growing.ended(told)
    for trial, filled in zip(run.trials, growing.so_far().trials, strict=True):
        untrained = blank.trials[trial.number]
        assert (untrained.status.name, untrained.status.at, untrained.kept_epoch) == ("training", 0, 0)
        assert untrained.status.reason == "waits for the first of 4 epochs"
        assert filled.recipe is untrained.recipe
        assert (filled.status, filled.kept_epoch) == (trial.status, trial.kept_epoch)
        for name in METRICS:
            assert untrained.history[name].shape == (0,)
            np.testing.assert_array_equal(filled.history[name], trial.history[name])
    assert follower.heard("end")[0].run.trials == run.trials


def test_the_end_tells_what_became_of_the_run(tracked: Any) -> None:
    run, memory = tracked
    assert memory.calls[-1][0] == "end"
    (end,) = memory.heard("end")
    assert (end.best, end.interrupted, end.error) == (run.best.number, False, None)
    assert end.metrics["test_accuracy"] == run.test.accuracy
    assert (end.metrics["test_accuracy_low"], end.metrics["test_accuracy_high"]) == run.test.interval
    assert end.metrics["best_validation_accuracy"] == run.best.validation_accuracy
    assert end.metrics["seconds"] == run.seconds["total"]
    assert end.messages == run.messages
    for trial in run.trials:
        told = end.trials[trial.number]
        assert (told.status, told.reason, told.kept_epoch) == (
            trial.status.name, trial.status.reason, trial.kept_epoch
        )  # fmt: skip


def test_a_tracker_changes_no_number_and_compiles_nothing(tracked: Any, small: Any, compiled: list[str]) -> None:
    run, _ = tracked
    again = tw.sweep(SPACE, small, halving=tw.Halving(2, 1))
    assert not {"train_block", "evaluate"} & set(compiled)
    assert again.messages == run.messages
    for one, other in zip(run.trials, again.trials, strict=True):
        for name in METRICS:
            np.testing.assert_array_equal(one.history[name], other.history[name])


def test_a_tracker_that_fails_is_told_no_more_and_the_run_goes_on(tracked: Any, small: Any) -> None:
    full, well, late = Memory(epoch=FULL, end=FULL), Memory(), Memory(end=ValueError("closed"))
    said: list[str] = []
    run = tw.sweep(
        SPACE, small, halving=tw.Halving(2, 1), trackers=[full, late, well],
        progress=lambda now: said.append(now.message or ""),
    )  # fmt: skip
    assert run.test == tracked[0].test
    assert [name for name, _ in full.calls] == ["begin", "epoch", "end"]
    assert [name for name, _ in well.calls] == [name for name, _ in tracked[1].calls]
    about = [message for message in run.messages if "tracker" in message]
    assert about == [
        "the tracker Memory failed at epoch 1 and is told no more; the run goes on: OSError: [Errno 28] No space left "
        "on device",
        "the tracker Memory failed at the end: ValueError: closed",
    ]
    assert [message for message in said if "tracker" in message] == about


def test_a_tracker_that_cannot_begin_stops_the_run_before_it_trains(small: Any) -> None:
    first = Memory()
    with pytest.raises(tw.UsageError, match=r"the tracker Memory cannot begin: OSError: \[Errno 28\] No space left"):
        tw.sweep(SPACE, small, trackers=[first, Memory(begin=FULL)])
    assert [name for name, _ in first.calls] == ["begin", "end"]
    assert first.heard("end")[0].error.startswith("UsageError: the tracker Memory cannot begin")


def test_ctrl_c_ends_the_trackers(small: Any) -> None:
    class Pressing(Memory):
        def epoch(self, epoch: int, metrics: Any) -> None:
            super().epoch(epoch, metrics)
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

    pressing = Pressing()
    with pytest.raises(tw.Interrupted):
        tw.sweep(SPACE, small, trackers=[pressing])
    (end,) = pressing.heard("end")
    assert end.interrupted
    assert "test_accuracy" not in end.metrics
    assert {trial.status for trial in end.trials.values()} == {"interrupted", "diverged"}


def test_a_second_ctrl_c_ends_them_too(small: Any) -> None:
    memory = Memory(epoch=KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        tw.sweep(SPACE, small, trackers=[memory])
    assert [name for name, _ in memory.calls] == ["begin", "epoch", "end"]
    assert memory.heard("end")[0].error == "KeyboardInterrupt"


def test_a_run_in_which_all_diverges_is_ended_with_its_error(small: Any) -> None:
    memory, broken = Memory(), Memory(end=FULL)
    space = dataclasses.replace(SPACE, optimizer=tw.optimizers.SGD(tw.choice(1e37, 1e38, 3e38, 2e38)))
    with pytest.raises(tw.DivergedError) as caught:
        tw.sweep(space, small, trackers=[memory, broken])
    (end,) = memory.heard("end")
    assert end.error.startswith("DivergedError: ")
    assert {trial.status for trial in end.trials.values()} == {"diverged"}
    assert "the tracker Memory failed at the end" in caught.value.run.messages[-1]


def test_a_path_is_told_with_its_solutions_as_trials(small: Any) -> None:
    memory, broken = Memory(), Memory(begin=FULL)
    path = tw.path(small, strengths=[1.0, 0.1], folds=0, trackers=[memory, broken])
    (start,), (told,), (end,) = (memory.heard(what) for what in ("begin", "epoch", "end"))
    assert [trial.hyperparameters["strength"] for trial in start.trials] == [1.0, 0.1]
    assert start.trials[0].hyperparameters["loss"] == "softmax"
    for solution in path.solutions:
        assert told[1][solution.number]["value"] == solution.value
        assert told[1][solution.number]["bound"] == solution.bound
        assert end.trials[solution.number].status == solution.status
    assert path.messages[-1].startswith("the tracker Memory cannot begin: OSError")


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        ("tensorboard", "trackers is 'tensorboard'; give a list"),
        ([Memory], "trackers holds the class Memory; make one: Memory"),
        ([3], "trackers holds 3; a tracker has the methods begin, epoch and end"),
    ],
)
def test_what_is_no_tracker_is_refused(trackers: Any, message: str) -> None:
    with pytest.raises(tw.UsageError, match=message):
        tw.sweep(SPACE, "no data is read before this", trackers=trackers)


@pytest.mark.parametrize("text", ["tensorbord", "tensorboard:", "mlflow:", "", ":x"])
def test_what_names_no_tracker_is_refused(text: str) -> None:
    with pytest.raises(tw.UsageError, match=r"track is .*give tensorboard:FOLDER"):
        parse_trackers([text])


def test_trackers_are_named_on_the_command_line(tmp_path: Path, small: Any) -> None:
    board, flow = parse_trackers([f"tensorboard:{tmp_path}", "mlflow:http://localhost:1"], "demo")
    assert (board.folder, board.name) == (tmp_path, "demo")  # type: ignore[attr-defined]
    assert (flow.uri, flow.name) == ("http://localhost:1", "demo")  # type: ignore[attr-defined]
    np.savez(tmp_path / "data.npz", X=small.train.features, y=small.train.labels)
    tw.save_recipe(SPACE, tmp_path / "space.toml")
    arguments = [str(tmp_path / "data.npz"), "--recipe", str(tmp_path / "space.toml"), "--out", str(tmp_path / "demo")]
    assert command(["sweep", *arguments, "--track", f"tensorboard:{tmp_path / 'board'}"]) == 0
    assert {path.name for path in (tmp_path / "board" / "demo").iterdir() if path.is_dir()} == {
        f"trial-00{number}" for number in range(4)
    }
    assert command(["sweep", *arguments, "--track", "tensorbord"]) == 2


def test_the_numbers_of_trials_sort_by_name() -> None:
    def start(count: int) -> RunStart:
        return RunStart("r", "d", {}, tuple(TrialStart(number, {}) for number in range(count)))

    assert start(3).label(2) == "trial-002"
    assert start(1001).label(7) == "trial-0007"


# --- the conformance check ---


def test_a_tracker_that_remembers_conforms() -> None:
    check_tracker(Memory())
    follower = Follower()
    check_tracker(follower)
    assert [set(told) for told in follower.heard("ended")] == [{0, 1}]


def test_the_check_finds_what_is_wrong() -> None:
    class Returning(Memory):
        def epoch(self, epoch: int, metrics: Any) -> Any:
            return metrics

    class Answering(Memory):
        def ended(self, trials: Any) -> Any:
            return len(trials)

    class Writing(Memory):
        def epoch(self, epoch: int, metrics: Any) -> None:
            metrics[0]["data_loss"] = 0.0

    class Converting(Memory):
        def epoch(self, epoch: int, metrics: Any) -> None:
            for row in metrics.values():
                int(row["data_loss"])

    class Once(Memory):
        def begin(self, run: Any) -> None:
            super().begin(run)
            if len(self.heard("begin")) > 1:
                raise RuntimeError("begun already")

    class Winner(Memory):
        def end(self, run: Any) -> None:
            print(run.metrics["test_accuracy"])

    for tracker, words in (
        (object(), "has no method begin"),
        (Returning(), "epoch 1 returned"),
        (Answering(), "ended returned 2"),
        (Writing(), "epoch 1 raised TypeError"),
        (Converting(), "epoch 2 raised"),
        (Once(), "begin, a second time raised RuntimeError: begun already"),
        (Winner(), "end, of an interrupted run raised KeyError"),
    ):
        with pytest.raises(AssertionError, match=words):
            check_tracker(tracker)
