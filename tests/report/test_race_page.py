"""The page of a race: what stands in the file, and its JavaScript against thalweg.optimizers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg import landscapes
from thalweg.errors import UsageError
from thalweg.landscapes import Beale, Function, Noisy, Quadratic, Rosenbrock
from thalweg.landscapes.records import Race
from thalweg.landscapes.starts import frame_of
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from thalweg.precision import double
from thalweg.report import race_page

STEPS = 120
PARTS = ("positions", "values", "gradient_norms", "distances", "status", "ended", "evaluations")
# A landscape of each kind, with parameters that are not the defaults, a start, and rates for the six rules.
CASES: list[tuple[Any, tuple[float, float], tuple[float, ...]]] = [
    (Quadratic(25.0, 0.4), (-2.5, 1.5), (0.05, 0.01, 0.01, 0.5, 0.05, 0.1)),
    (landscapes.Saddle(), (-1.5, 1e-3), (0.05, 0.01, 0.01, 0.1, 0.03, 0.05)),
    (landscapes.MonkeySaddle(), (1.5, 1e-3), (0.01, 0.002, 0.002, 0.05, 0.01, 0.01)),
    (Rosenbrock(1.5, 20.0), (-1.2, 1.0), (0.001, 0.0005, 0.001, 0.5, 0.02, 0.1)),
    (Beale(), (1.0, 1.5), (0.01, 0.005, 0.005, 0.5, 0.02, 0.1)),
    (landscapes.Himmelblau(), (-1.0, -0.5), (0.01, 0.003, 0.003, 0.5, 0.05, 0.2)),
    (landscapes.Rastrigin(3.0), (-3.3, 2.3), (0.002, 0.001, 0.001, 0.1, 0.05, 0.1)),
    (landscapes.Hill(2.0, 3.0), (0.5, 1.0), (1.0, 0.3, 0.3, 0.5, 0.1, 0.2)),
]
RULES: dict[str, tuple[Any, dict[str, float]]] = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "nesterov": (lambda rate, **n: SGD(rate, nesterov=True, **n), {"momentum": 0.85}),
    "adagrad": (AdaGrad, {"epsilon": 1e-7}),
    "rmsprop": (RMSProp, {"decay": 0.95, "epsilon": 1e-7}),
    "adam": (Adam, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}),
}


def record_of(landscape: Any, names: tuple[str, ...] = ("SGD",), steps: int = 20, lost: bool = False) -> Race:
    """A race of gradient descent, each racer at its own rate; the last one flies off if ``lost``."""
    start = np.array([0.75 * side[0] + 0.25 * side[1] for side in landscape.bounds])
    positions = np.empty((len(names), 1, steps + 1, 2))
    for racer in range(len(names)):
        point = start
        for step in range(steps + 1):
            positions[racer, 0, step] = point
            point = point - 1e-3 * (racer + 1) * np.asarray(landscape.gradient(point)).clip(-100, 100)
    status = np.zeros((len(names), 1), int)
    ended = np.full((len(names), 1), steps)
    if lost:
        positions[-1, 0, 5:] = positions[-1, 0, 4] + np.array([1e5, 3e5])
        status[-1], ended[-1] = 2, 5
    away = [np.linalg.norm(positions - np.array(m), axis=-1) for m in landscape.minima]
    return Race(
        landscape=landscape,
        names=names,
        starts=start[None],
        positions=positions,
        values=np.asarray(landscape.value(positions)),
        gradient_norms=np.linalg.norm(landscape.gradient(positions), axis=-1),
        distances=np.min(away, axis=0) if away else np.full(positions.shape[:-1], np.nan),
        status=status,
        ended=ended,
        evaluations=ended,
    )


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found.group(1))


def node(program: str, given: Any) -> Any:
    """Run the page's formulas and a program after them in Node, which reads ``given`` and prints JSON."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("Node is not installed: the page's JavaScript cannot be run outside a browser")
    source = (resources.files("thalweg.report") / "templates" / "race_math.js").read_text("utf-8")
    reading = "const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n"
    done = subprocess.run(
        [command, "-e", source + reading + program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def spec_of(landscape: Any) -> dict[str, Any]:
    return {
        "kind": type(landscape).__name__,
        "parameters": asdict(landscape),
        "bounds": landscape.bounds,
        "reach": frame_of(landscape)[1],
    }


# --- JavaScript beside Python ---


def test_values_gradients_and_hessians_agree() -> None:
    points = np.random.default_rng(0).uniform(-2, 2, (40, 2))
    given = {"specs": [spec_of(f) for f, _, _ in CASES], "points": points.tolist()}
    found = node(
        """console.log(JSON.stringify(given.specs.map((spec) => {
          const f = LANDSCAPES[spec.kind](spec.parameters);
          return given.points.map(([x, y]) => [f.value(x, y), f.gradient(x, y), f.hessian(x, y)]);
        })));""",
        given,
    )
    for (f, _, _), rows in zip(CASES, found, strict=True):
        values, gradients, hessians = (np.array(part) for part in zip(*rows, strict=True))
        # Both round each operation to double; sums of terms up to 1e4 (Beale) leave a few 1e-12 where they cancel.
        np.testing.assert_allclose(values, f.value(points), rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(gradients, f.gradient(points), rtol=1e-12, atol=1e-11)
        exact = f.hessian(points)
        upper = np.stack([exact[..., 0, 0], exact[..., 0, 1], exact[..., 1, 1]], axis=-1)
        np.testing.assert_allclose(hessians, upper, rtol=1e-12, atol=1e-11)


def expected(kind: str) -> np.ndarray:
    """Return the way (cases, STEPS + 1, 2) of the real optimizer on every landscape, in float64."""
    make, numbers = RULES[kind]
    place = list(RULES).index(kind)
    made = [make(rates[place], **numbers) for _, _, rates in CASES]
    with double():
        stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves, jnp.float64), *made)
        starts = jnp.asarray([start for _, start, _ in CASES], jnp.float64)

        def step(carry: Any, _: None) -> Any:
            points, state = carry
            slopes = jnp.stack([f.gradient(points[i]) for i, (f, _, _) in enumerate(CASES)])
            updates, state = eqx.filter_vmap(lambda o, g, s, x: o.update(g, s, x))(stacked, slopes, state, points)
            return (points + updates, state), points + updates

        begun = eqx.filter_vmap(lambda o, x: o.init(x))(stacked, starts)
        _, ways = jax.jit(lambda: jax.lax.scan(step, (starts, begun), length=STEPS))()
        return np.concatenate([np.asarray(starts)[:, None], np.moveaxis(np.asarray(ways), 0, 1)], axis=1)


RUN = """console.log(JSON.stringify(given.jobs.map(({ spec, racer, start }) => {
  const track = runRacer(spec, racer, start, given.options);
  return { points: track.points, values: track.values, status: track.status, ended: track.ended };
})));"""


def test_every_rule_walks_as_the_optimizer_does_on_every_landscape() -> None:
    jobs = [
        {"spec": spec_of(f), "racer": {"kind": kind, "rate": rates[place], **RULES[kind][1]}, "start": start}
        for place, kind in enumerate(RULES)
        for f, start, rates in CASES
    ]
    tracks = iter(node(RUN, {"jobs": jobs, "options": {"steps": STEPS, "tolerance": 0}}))
    for kind in RULES:
        ways = expected(kind)
        for (f, _, _), way in zip(CASES, ways, strict=True):
            track = next(tracks)
            assert len(track["points"]) == track["ended"] + 1
            # A racer that diverges is cut there; the others take all steps.
            assert track["status"] == "running" or kind in ("sgd", "momentum", "nesterov")
            count = len(track["points"]) - (track["status"] == "diverged")
            assert count > 20
            # Rounding differs by units in the last place, which these ways hardly amplify: 1e-9 of a way's size.
            scale = np.abs(way[:count]).max()
            np.testing.assert_allclose(track["points"][:count], way[:count], rtol=0, atol=1e-9 * max(scale, 1))
            np.testing.assert_allclose(track["values"][:count], f.value(way[:count]), rtol=1e-7, atol=1e-9)


def test_newton_solves_with_the_hessian() -> None:
    f, start = Beale(), [2.5, 0.3]
    job = {"spec": spec_of(f), "racer": {"kind": "newton", "rate": 0.5}, "start": start}
    (track,) = node(RUN, {"jobs": [job], "options": {"steps": 30, "tolerance": 0}})
    point = np.array(start)
    for there in track["points"]:
        np.testing.assert_allclose(there, point, rtol=0, atol=1e-9)
        point = point - 0.5 * np.linalg.solve(f.hessian(point), f.gradient(point))


def test_ends_as_a_race_does() -> None:
    bowl = spec_of(Quadratic(10.0))
    jobs = [
        {"spec": bowl, "racer": {"kind": "sgd", "rate": 0.1}, "start": [-2.5, 1.0]},
        {"spec": bowl, "racer": {"kind": "sgd", "rate": 0.5}, "start": [-2.5, 1.0]},
        {"spec": bowl, "racer": {"kind": "sgd", "rate": 0.1}, "start": [0.0, 0.0]},
        {"spec": spec_of(Beale()), "racer": {"kind": "sgd", "rate": 1e9}, "start": [4.0, 4.0]},
    ]
    calm, lost, still, far = node(RUN, {"jobs": jobs, "options": {"steps": 500}})
    raced = landscapes.race(Quadratic(10.0), [SGD(0.1), SGD(0.5)], [(-2.5, 1.0)], 500)
    for racer, track in enumerate((calm, lost)):
        assert track["ended"] == raced.ended[racer, 0]
        assert ("running", "converged", "diverged")[raced.status[racer, 0]] == track["status"]
        # All but the step that diverged, which is cut short.
        whole = raced.positions[racer, 0, : track["ended"] + (track["status"] != "diverged")]
        np.testing.assert_allclose(track["points"][: len(whole)], whole, rtol=1e-9, atol=1e-12)
    middle, reach = frame_of(Quadratic(10.0))
    assert np.linalg.norm(lost["points"][-1] - middle) == pytest.approx(reach)
    assert (calm["status"], lost["status"]) == ("converged", "diverged")
    assert (still["status"], still["ended"], len(still["points"])) == ("converged", 0, 1)
    assert (far["status"], far["ended"]) == ("diverged", 1)


def test_noise_is_normal_seeded_and_the_same_for_all() -> None:
    program = """const first = (count, draw) => Array.from({ length: count }, draw);
    console.log(JSON.stringify([first(20000, normals(1)), first(3, normals(1)), first(3, normals(2))]));"""
    drawn, again, other = node(program, None)
    assert drawn[:3] == again != other
    # Mean and variance of 20,000 normal numbers lie within 4 standard errors: 0.028 and 0.04.
    assert abs(np.mean(drawn)) < 0.028
    assert abs(np.var(drawn) - 1) < 0.04


# --- the file ---


class Seen(HTMLParser):
    """Collects what a browser would load, and the elements with handlers or styles of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "action", "srcset", "data"):
                self.loads.append(str(value))
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")


def test_the_file_asks_no_host_for_anything() -> None:
    page = race_page(record_of(Rosenbrock()))
    seen = Seen()
    seen.feed(page)
    assert seen.loads == ["data:,"]  # the icon, which a browser would ask for otherwise
    assert seen.inline == []  # the policy would refuse them
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src &#39;none&#39;" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    assert page.index("Content-Security-Policy") < page.index("<script")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_texts_stand_out_in_light_and_dark() -> None:
    css = (resources.files("thalweg.report") / "templates" / "race.css").read_text("utf-8")
    for block in re.findall(r":root(?:\[[^]]*\])? \{([^}]*--paper[^}]*)\}", css):
        named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for text in ("ink", "soft", "accent", "alarm"):
            for ground in ("paper", "card"):
                dark, light = sorted((luminance(named[text]), luminance(named[ground])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)  # WCAG 2, level AA


def test_a_page_is_the_same_each_time() -> None:
    record = record_of(Rosenbrock(), ("a", "b"))
    assert race_page(record) == race_page(record)


def test_names_cannot_break_out() -> None:
    bad = "</script><script>alert(1)</script><!-- ${x} {{ 7 * 7 }}"
    page = race_page(record_of(Function(lambda p: p[0] ** 2 + p[1] ** 2, name=bad), (bad,)))
    assert bad not in page
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert data_of(page)["recorded"][0]["name"] == bad
    assert data_of(page)["landscapes"][0]["title"] == bad


def test_the_recorded_way_is_in_the_page() -> None:
    record = record_of(Rosenbrock(2.0, 50.0), ("calm", "lost"), lost=True)
    data = data_of(race_page(record))
    first, second = data["recorded"]
    np.testing.assert_allclose(first["points"], record.positions[0, 0], rtol=1e-7)
    np.testing.assert_allclose(first["values"], record.values[0, 0], rtol=1e-7)
    assert (first["status"], first["ended"]) == ("running", 20)
    assert (second["status"], second["ended"], second["steps"]) == ("diverged", 5, [0, 1, 2, 3, 4, 5])
    own, *others = data["landscapes"]
    assert (own["kind"], own["parameters"], own["own"]) == ("Rosenbrock", {"a": 2.0, "b": 50.0}, True)
    assert own["lowest"] == 0
    assert len(others) == 7
    assert {one["kind"] for one in others} == {type(f).__name__ for f, _, _ in CASES} - {"Rosenbrock"}


def test_a_long_race_is_thinned_and_keeps_its_ends() -> None:
    record = record_of(Beale(), steps=5000)
    (way,) = data_of(race_page(record))["recorded"]
    assert len(way["points"]) == len(way["values"]) == len(way["steps"]) == 1000
    assert way["steps"][0] == 0
    assert way["steps"][-1] == way["ended"] == 5000


def test_a_landscape_of_ones_own_is_drawn_from_a_grid() -> None:
    record = record_of(Function(lambda p: p[0] ** 2 + p[1] ** 2, name="bowl", bounds=((-2, 2), (-1, 1))))
    own = data_of(race_page(record))["landscapes"][0]
    assert own["kind"] is None
    assert own["lowest"] is None
    grid = np.array(own["grid"]["values"])
    assert grid.shape == (61, 61)
    np.testing.assert_allclose(grid[0, 0], 5)
    np.testing.assert_allclose(grid[30, 30], 0, atol=1e-12)


def test_rates_to_begin_with_suit_a_steeper_bowl() -> None:
    own = data_of(race_page(record_of(Quadratic(300.0))))["landscapes"][0]
    assert own["rates"]["sgd"] == 0.005  # 1.5/κ: stable, as it is below 2/κ
    assert own["rates"]["adam"] == 0.1


class Read(HTMLParser):
    """Collects what is read without a script: the text of each cell of the table, and of the verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: dict[str, str] = {}
        self.headings: list[str] = []
        self._id, self._cell, self._inside = "", False, False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self._inside = given.get("id") == "recorded" if tag == "table" else self._inside
        self._id = given.get("id") or ("title" if tag == "title" else "")
        self._cell = self._inside and tag in ("td", "th")
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._cell:
            self.rows[-1].append("")
            self.headings.append(f"{tag} {given.get('scope')}")

    def handle_endtag(self, tag: str) -> None:
        self._id, self._cell = "", False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data
        if self._id:
            self.texts[self._id] = self.texts.get(self._id, "") + data


def read(page: str) -> Read:
    found = Read()
    found.feed(page)
    return found


def test_the_result_is_read_without_a_script() -> None:
    record = record_of(Quadratic(100.0), ("SGD 0.02", "<i>Newton</i>"), lost=True)
    page = race_page(record, racers=[SGD(0.02), None], settings={"rates": "as given <b>"})
    found = read(page)
    assert found.texts["title"] == "Quadratic, condition = 100, angle = 0: a race of optimizers"
    value = f"{record.values[0, 0, -1]:.3g}"
    assert found.texts["verdict"] == (
        "Quadratic, condition = 100, angle = 0: 2 racers from (−1.5, −1.5), at most 20 steps each. SGD 0.02 ends "
        f"lowest, at f − min f = {value}. Of 2 racers, 1 still moved at the end, 1 diverged."
    )
    assert "Rates: as given <b>." in found.texts["recorded-note"]
    assert found.rows[0] == ["Optimizer", "Rate", "Steps", "Gradients", "Final value", "Distance", "Status"]
    assert found.rows[1][:5] == ["SGD", "0.02", "20", "20", value]
    assert [found.rows[2][i] for i in (0, 1, 2, 6)] == ["<i>Newton</i>", "", "5", "diverged"]
    assert found.headings[:8] == ["th col"] * 7 + ["th row"]
    # The map needs its script, and stays out of sight without it.
    assert '<div id="live" hidden>' in page
    assert page.index('id="live" hidden') < page.index('id="map"') < page.index('id="recorded"')


def test_several_starts_are_told_by_their_medians() -> None:
    one = record_of(landscapes.Saddle(), ("a 0.1", "b"))
    parts = {name: np.repeat(getattr(one, name), 3, axis=1) for name in one.__dataclass_fields__ if name in PARTS}
    record = replace(one, starts=np.repeat(one.starts, 3, axis=0), messages=("<b>lost</b>",), **parts)
    record.status[0] = [2, 0, 0]
    record.values[1, :, -1] = [-1, -9e5, -3]
    record.values[0, :, -1] = -50
    page = race_page(record)
    found = read(page)
    # The one that diverged from a start is out of the comparison; and no rates are known, nor a minimum's distance.
    assert "2 racers from 3 starts, at most 20 steps each. b ends lowest, at a median of f = −3, of those that" in page
    assert "diverged from no start. Of 6 runs, 5 still moved at the end, 1 diverged." in found.texts["verdict"]
    assert found.rows[0] == ["Optimizer", "Steps", "Gradients", "Final value", "Status"]
    assert found.rows[1:] == [
        ["a 0.1", "20", "20", "−50", "2 running, 1 diverged"],
        ["b", "20", "20", "−3", "3 running"],
    ]
    assert found.texts["recorded-note"].startswith("Medians over all starts.")
    assert "<li>&lt;b&gt;lost&lt;/b&gt;</li>" in page
    record.status[:] = 2
    assert "Every racer diverged from every start." in race_page(record)


def test_equal_ends_are_told_together() -> None:
    record = record_of(Quadratic(), tuple("abcde"))
    record.values[:, :, -1] = 0
    assert "a, b, c and 2 more end lowest, at f − min f = 0." in race_page(record)


def test_noise_comes_along() -> None:
    data = data_of(race_page(record_of(Noisy(Quadratic(), 0.25))))
    assert data["noise"] == 0.25
    assert "other than those of the recorded race" in race_page(record_of(Quadratic()))
    assert data["landscapes"][0]["kind"] == "Quadratic"
    assert "noise" not in data["landscapes"][0]["title"]


def test_the_races_own_optimizers_keep_their_numbers() -> None:
    racers = [
        SGD(0.02),
        SGD(0.01, momentum=0.8, nesterov=True),
        RMSProp(0.3, decay=0.9),
        AdamW(0.1),
        Adam(0.1, beta1=0.5),
    ]
    names = ("plain", "look ahead", "mean", "decayed", "both")
    found = data_of(race_page(record_of(Quadratic(), names), racers=racers))["racers"]
    given = [one for one in found if one["given"]]
    # AdamW decays the weights, which the page has no formula for: it is left out.
    assert [one["name"] for one in given] == ["plain", "look ahead", "mean", "both"]
    assert given[1] == {
        "kind": "nesterov", "rate": 0.01, "momentum": 0.8, "name": "look ahead", "on": True, "given": True,
    }  # fmt: skip
    assert given[2]["decay"] == 0.9
    assert given[3]["beta1"] == 0.5
    rest = {one["kind"]: one for one in found if not one["given"]}
    assert set(rest) == {"momentum", "adagrad", "newton"}
    # The recorded Newton has a line search, the page's has none: no two share the name.
    assert rest["newton"]["name"] == "Newton, plain"
    assert not any(one["on"] for one in rest.values())


def test_a_rate_in_a_name_is_left_out_where_names_stay_apart() -> None:
    record = record_of(Quadratic(), ("SGD 0.02", "Adam 0.1"))
    found = data_of(race_page(record, racers=[SGD(0.02), Adam(0.1)]))
    assert [one["name"] for one in found["racers"][:2]] == ["SGD", "Adam"]
    assert [one["name"] for one in found["recorded"]] == ["SGD 0.02", "Adam 0.1"]
    record = record_of(Quadratic(), ("SGD 0.02", "SGD 0.1"))
    found = data_of(race_page(record, racers=[SGD(0.02), SGD(0.1)]))
    assert [one["name"] for one in found["racers"][:2]] == ["SGD 0.02", "SGD 0.1"]


def test_wrong_arguments_are_told() -> None:
    record = record_of(Quadratic())
    with pytest.raises(UsageError, match="start is 3; give a whole number from 0 to 0"):
        race_page(record, start=3)
    with pytest.raises(UsageError, match="racers holds 2 for a race of 1"):
        race_page(record, racers=[SGD(0.1), SGD(0.2)])
