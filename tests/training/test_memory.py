"""The memory plan: against the compiler's own account, in chunks, with halving, in containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.losses import Hinge
from thalweg.optimizers import SGD, Adam, RandomSearch
from thalweg.recipe import Recipe, bind
from thalweg.training import Halving, Settings, free_memory, memory, program
from thalweg.training.cohort import group
from thalweg.training.memory import Plan, peak_bytes, plan
from thalweg.training.program import Examples, Inputs
from thalweg.training.random_search import search_epoch

RATES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4)
# Another width of the products rounds differently; see test_engine.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
AMPLE = 10**12


def recipes(epochs: int = 9, **changes: Any) -> list[Recipe]:
    return [Recipe(**{"optimizer": SGD(rate), "batch_size": 32, "epochs": epochs, **changes}) for rate in RATES]


def shape(count: int, features: int, dtype: Any = np.float32) -> Examples:
    """Examples that have a shape only."""
    one = jax.ShapeDtypeStruct((), np.float32)
    arrays = jax.ShapeDtypeStruct((count, features), dtype), jax.ShapeDtypeStruct((count,), np.int32)
    return Examples(*arrays, one, one)


TRAIN, HELD = shape(110, 6), shape(40, 6)  # of the shared problem
DATA = 110 * 7 * 4 + 40 * 7 * 4 + 16


def planned(recipes: list[Recipe], settings: Settings | None = None, held: Examples = HELD) -> list[Plan]:
    bound = [bind(recipe, 110) for recipe in recipes]
    cohorts, inputs = group(bound), Inputs(TRAIN, held)
    return plan(cohorts, [inputs] * len(cohorts), 3, settings or Settings(memory=AMPLE))


def hidden_layer(key: jax.Array, input_shape: tuple[int, ...], classes: int) -> Any:
    first, second = jax.random.split(key)
    return (jax.random.normal(first, (*input_shape, 256)), jax.random.normal(second, (256, classes))), ()


def scores(params: Any, state: Any, x: jax.Array, *, key: Any, training: bool) -> Any:
    return jax.nn.relu(x @ params[0]) @ params[1], state


CASES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    # changes of the recipe; examples, features, classes
    "Adam": ({"optimizer": Adam(), "batch_size": 256}, (1000, 3072, 10)),
    "full batch": ({"batch_size": "full"}, (20_000, 3072, 10)),
    "full batch, few features": ({"batch_size": "full"}, (20_000, 30, 10)),
    "hinge": ({"loss": Hinge(), "batch_size": 256}, (1000, 3072, 10)),
    "hinge, full batch": ({"loss": Hinge(), "batch_size": "full"}, (20_000, 30, 10)),
    "many classes": ({"optimizer": Adam(), "batch_size": 256}, (1000, 64, 2000)),
    "hinge, many classes": ({"loss": Hinge(), "optimizer": Adam(), "batch_size": 256}, (1000, 64, 2000)),
    "a network": ({"model": (hidden_layer, scores), "batch_size": 32}, (1000, 1000, 10)),
    "a network, full batch": ({"model": (hidden_layer, scores), "batch_size": "full"}, (5000, 100, 10)),
    "random search": ({"optimizer": RandomSearch(300)}, (3000, 3072, 10)),
    "random search, few features": ({"optimizer": RandomSearch(1000), "loss": Hinge()}, (3000, 10, 10)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_plan_covers_what_the_compiler_takes(case: str) -> None:
    """The compiler's own account of all programs stays within the plan, and the plan is no idle guess."""
    changes, (count, features, classes) = CASES[case]
    examples, held = shape(count, features, np.uint8), shape(200, features, np.uint8)
    bound = [bind(recipe, count) for recipe in recipes(**changes)]
    (cohort,) = group(bound)
    (whole,) = plan([cohort], [Inputs(examples, held)], classes, Settings(memory=AMPLE))
    taken = compiled_bytes(cohort, examples, held, classes)
    assert whole.chunks == 1
    assert taken <= whole.bytes_whole <= 5 * taken


def compiled_bytes(cohort: Any, examples: Examples, held: Examples, classes: int) -> int:
    """The state, and the most that a compiled program takes beside its arguments."""
    key, trials = jax.random.key(0), len(cohort)
    features = examples.features.shape[1:]
    state = jax.eval_shape(lambda r: program.initialise(r, key, features, classes), cohort.recipe)
    started = program.initialise.lower(cohort.recipe, key, features, classes)
    if isinstance(cohort.recipe.optimizer, RandomSearch):
        lowest = jax.ShapeDtypeStruct((trials,), np.float32)
        trained = search_epoch.lower(cohort.recipe, state, lowest, examples, key, 1024)
    else:
        batch = cohort.batch_size
        steps = -(-len(examples.labels) // batch)
        shapes = ((steps, batch), np.int32), ((steps, batch), np.float32), ((steps, trials), np.float32), ((), np.int32)
        block = program.Block(*(jax.ShapeDtypeStruct(*one) for one in shapes))
        trained = program.train_block.lower(cohort.recipe, state, examples, block, key)
    scored = program.evaluate.lower(cohort.recipe, state.params, state.model_state, held, 1024)
    accounts = [lowered.compile().memory_analysis() for lowered in (started, trained, scored)]
    most = max(a.temp_size_in_bytes + a.output_size_in_bytes - a.alias_size_in_bytes for a in accounts)
    return int(most) + sum(leaf.dtype.itemsize * leaf.size for leaf in jax.tree.leaves(state))


def test_a_peak_is_counted_by_hand() -> None:
    x = jax.ShapeDtypeStruct((1000,), np.float32)
    assert peak_bytes(lambda x: jnp.sin(jnp.cos(jnp.exp(x))), x) == 8_000  # each value and the one made of it
    assert peak_bytes(lambda x: jnp.sin(x) * jnp.cos(x), x) == 12_000
    assert peak_bytes(jax.jit(jnp.sin), x) == 4_000  # a call's result is made once
    assert peak_bytes(lambda x: x * jnp.ones(1000), x) == 4_000  # a repeated value is never laid out
    # A loop: its result and its carry (2 × 4), one turn's slice, and what the turn makes.
    turns = jax.ShapeDtypeStruct((7, 1000), np.float32)
    looped = peak_bytes(lambda x, turns: jax.lax.scan(lambda c, t: (c + t, None), x, turns)[0], x, turns)
    assert looped == 12_000


def test_a_cohort_too_large_for_memory_runs_in_chunks_and_says_so(problem: Any) -> None:
    (whole,) = planned(recipes(3))
    assert whole.chunks == 1
    limit = DATA + (whole.bytes_whole * 6) // 10
    (small,) = planned(recipes(3), Settings(memory=limit))
    assert 1 < small.chunks < 8
    assert small.chunks == -(-8 // small.width)
    assert small.bytes_chunk <= small.bytes_free == limit - DATA < small.bytes_whole

    chunked, plain = problem.train(recipes(3), Settings(memory=limit)), problem.train(recipes(3))
    (message,) = chunked.messages
    assert f"in {small.chunks} chunks of up to {small.width}" in message
    for first, second in zip(chunked.records, plain.records, strict=True):
        np.testing.assert_allclose(first.params["weight"], second.params["weight"], **CLOSE)
        assert first.status == second.status


def test_chunks_are_the_widest_that_fit() -> None:
    for count in range(1, 9):
        cut = recipes()[:count]
        (fits,) = planned(cut)
        (same,) = planned(cut, Settings(memory=DATA + fits.bytes_whole))
        assert same.chunks == 1
        if count > 1:
            (less,) = planned(cut, Settings(memory=DATA + fits.bytes_whole - 1))
            assert less.chunks == 2


def test_halving_works_across_chunks(problem: Any) -> None:
    halving = Halving(2.0, 1)
    (whole,) = planned(recipes(), Settings(halving=halving, memory=AMPLE))
    settings = Settings(halving=halving, memory=DATA + (whole.bytes_whole * 7) // 10)
    outcome = problem.train(recipes(), settings)
    assert any("chunks" in message for message in outcome.messages)
    plain = problem.train(recipes(), Settings(halving=halving))
    assert [r.status for r in outcome.records] == [r.status for r in plain.records]


def test_with_halving_the_states_of_all_cohorts_are_held() -> None:
    """Three numbers per weight with Adam: 4 bytes × 3 × 21, for each trial of the other cohort too."""
    both = recipes(optimizer=Adam()) + recipes(optimizer=Adam(), loss=Hinge())
    apart, together = planned(both), planned(both, Settings(halving=Halving(), memory=AMPLE))
    held = 8 * 4 * 3 * (3 * 6 + 3)
    for alone, beside in zip(apart, together, strict=True):
        # Counters, flags and the 2 × 40 bytes of what was right: a little more.
        assert held <= beside.bytes_whole - alone.bytes_whole <= held + 8 * (80 + 40)


def weighty(settings: Settings, trials: int = 64) -> Plan:
    """Plan trials of 1.2 MB of weights each, three times that with Adam's state."""
    bound = [bind(recipe, 110) for recipe in (recipes(optimizer=Adam()) * 8)[:trials]]
    inputs = Inputs(shape(110, 3072, np.uint8), shape(40, 3072, np.uint8))
    (result,) = plan(group(bound), [inputs], 100, settings)
    return result


def test_halving_that_cannot_fit_is_refused_with_its_remedy() -> None:
    """64 states are 236 MB, 64 results 79 MB: without halving the trials go in chunks."""
    assert weighty(Settings(memory=250_000_000)).chunks > 1
    with pytest.raises(UsageError, match=r"with halving the states of all trials.*fewer trials, no halving"):
        weighty(Settings(halving=Halving(), memory=250_000_000))


def test_a_trial_that_does_not_fit_is_refused_before_anything_runs(problem: Any) -> None:
    with pytest.raises(UsageError, match=r"one trial needs .* may be used.*batch_size"):
        problem.train(recipes(), Settings(memory=1_000))


def test_results_that_do_not_fit_are_refused() -> None:
    alone = weighty(Settings(memory=AMPLE), trials=1).bytes_whole
    with pytest.raises(UsageError, match=r"the results of all trials .* fewer trials"):
        weighty(Settings(memory=alone + 1_000_000))


def test_patience_and_validation_examples_are_counted() -> None:
    (plain,) = planned(recipes())
    (patient,) = planned(recipes(), Settings(patience=2, memory=AMPLE))
    assert patient.bytes_whole - plain.bytes_whole == 8 * 4 * (3 * 6 + 3)  # the best weights of 8 trials
    (more,) = planned(recipes(), held=shape(100_000, 6))
    # A trial and example: the loss (4 bytes), whether right in the program, its result and the record.
    assert more.bytes_whole - plain.bytes_whole >= 8 * 99_960 * (4 + 1 + 1 + 1)


def test_random_search_shares_its_candidates() -> None:
    """`lax.map` runs one trial at a time: eight cost hardly more than one."""
    drawn = recipes(optimizer=RandomSearch(1000))
    (one,), (eight,) = planned(drawn[:1]), planned(drawn)
    assert one.bytes_whole <= eight.bytes_whole <= 1.05 * one.bytes_whole
    scores = 4 * 1000 * 1024 * 3
    assert one.bytes_whole > 2 * scores


def test_the_data_is_taken_from_a_given_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured as free is free beside the data, which is there already."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    (measured,) = planned(recipes(), Settings())
    assert measured.bytes_free == 7 * 10**8
    (given,) = planned(recipes(), Settings(memory=10**9))
    assert given.bytes_free == 10**9 - DATA


def test_free_memory_is_a_plausible_figure() -> None:
    assert 10**8 < free_memory.available_bytes() < 10**14


GB = 10**9
V2 = {"memory.max": f"{6 * GB}", "memory.current": f"{5 * GB}", "memory.stat": f"anon 7\ninactive_file {2 * GB}\n"}
V1 = {"memory.limit_in_bytes": f"{4 * GB}\n", "memory.usage_in_bytes": f"{3 * GB}\n"}
UNLIMITED = {"memory.max": "max\n", "memory.current": f"{5 * GB}\n"}


@pytest.mark.parametrize(
    ("files", "own", "free"),
    [
        ({}, "", 8 * GB),
        ({"": V2}, "0::/\n", 3 * GB),  # 6 − 5, and 2 of cached files, which are given back
        ({"": UNLIMITED}, "0::/\n", 8 * GB),
        ({"a/b": V2}, "0::/a/b\n", 3 * GB),  # as the host names it
        ({"a": V2, "a/b": UNLIMITED}, "0::/a/b\n", 3 * GB),  # a group around it
        ({"x": V2}, "0::/a/b\n", 8 * GB),  # another group
        ({"memory": V1}, "4:memory:/docker/c\n", 1 * GB),
        ({"memory/docker/c": V1}, "5:cpu:/\n4:memory:/docker/c\n", 1 * GB),
        ({"": {"memory.max": f"{GB}", "memory.current": f"{2 * GB}"}}, "", 0),  # over its limit
        ({"": {"memory.max": "word", "memory.current": "7"}}, "", 8 * GB),
    ],
)
def test_a_containers_limit_counts(
    files: dict[str, dict[str, str]], own: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = tmp_path / "groups"
    for folder, contents in files.items():
        (groups / folder).mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (groups / folder / name).write_text(text)
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {8 * GB // 1000 * 1000 // 1024} kB\n")
    (tmp_path / "own").write_text(own)
    for name, path in (("_MEMINFO", tmp_path / "meminfo"), ("_OWN_GROUP", tmp_path / "own"), ("_GROUPS", groups)):
        monkeypatch.setattr(free_memory, name, path)
    if jax.devices()[0].platform == "cpu":
        assert free_memory.available_bytes() == pytest.approx(free, rel=1e-6)  # kilobytes
