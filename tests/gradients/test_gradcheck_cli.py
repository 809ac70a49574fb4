"""thalweg gradcheck: exit codes, JSON, points from files, and an error for each way to call it wrongly."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from thalweg.cli.app import run

SOURCE = """
import numpy as np
import jax.numpy as jnp

number = 3


def sphere(x):
    return np.sum(x**2)


def by_numpy(x):
    return np.dot(np.sin(x), np.ones(3))


def slope(x):
    return 2 * x


def wrong(x):
    return 3 * x


def modulus(x):
    return np.sum(np.abs(x))


def waves(x):
    return jnp.sum(jnp.sin(x))


def tree(point):
    return jnp.sum(point["w"] ** 2) * point["b"][0]


def right_case():
    return sphere, np.array([1.0, 2.0]), slope


def wrong_case():
    return sphere, np.array([1.0, 2.0]), wrong


def unsure_case():
    return modulus, np.array([1.0, 0.0]), np.sign


def auto_case():
    return waves, np.array([1.0, 2.0])


def odd_case():
    return sphere


def odd_triple():
    return 1, 2, 3


def raising_case():
    raise RuntimeError("no data here")


class Name(str):  # a key that is written as it is
    def __repr__(self):
        return str(self)


def escape_case():
    name = Name("a\\x1b[31mb")
    return (lambda p: np.sum(p[name] ** 2)), {name: np.ones(2)}, lambda p: p


class Holder:
    @staticmethod
    def sphere(x):
        return np.sum(x**2)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of functions in the working folder; what importing leaves behind is taken away."""
    path = tmp_path / "sloping.py"
    path.write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.array([1.0, -2.0, 0.5]))
    np.savez(tmp_path / "tree.npz", w=np.ones((2, 2)), b=np.array([3.0]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sloping", raising=False)
    return path


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch):
    yield
    sys.modules.pop("sloping", None)


@pytest.mark.parametrize(
    ("arguments", "code", "start"),
    [
        (["sloping:right_case"], 0, "pass: gradient (given), all 2 entries"),
        (["sloping:wrong_case"], 1, "fail: gradient (given), all 2 entries"),
        (["sloping:unsure_case"], 3, "inconclusive: gradient (given), all 2 entries"),
        (["sloping:auto_case"], 0, "pass: gradient (JAX autodiff), reverse and forward mode, all 2 entries"),
        (["sloping.py:right_case"], 0, "pass"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "slope"], 0, "pass: gradient (given), all 3 entries"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "wrong"], 1, "fail"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "sloping:slope"], 0, "pass"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "sloping.py:slope"], 0, "pass"),
        (["sloping:Holder.sphere", "--point", "x.npy", "--gradient", "slope"], 0, "pass"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "wrong", "--rtol", "0.6"], 0, "pass"),
        (["sloping:wrong_case", "--gradient", "slope"], 0, "pass"),
        (["sloping:right_case", "--point", "x.npy"], 0, "pass: gradient (given), all 3 entries"),
        (["sloping:waves", "--point", "x.npy"], 0, "pass: gradient (JAX autodiff)"),
        (["sloping:waves", "--point", "x.npy", "--second"], 0, "pass: second derivatives (JAX autodiff)"),
        (["sloping:tree", "--point", "tree.npz"], 0, "pass: gradient (JAX autodiff), reverse and forward mode, all 5"),
    ],
)
def test_verdicts_and_exit_codes(module, capsys, arguments, code, start):
    assert run(["gradcheck", *arguments]) == code
    out, _ = capsys.readouterr()
    assert out.startswith(start), out


def test_a_fail_says_where_and_what(module, capsys):
    assert run(["gradcheck", "sloping:wrong_case"]) == 1
    out = capsys.readouterr().out
    assert "x[0]: analytic 3, numeric 2" in out
    assert "2 of 2 entries checked one by one are wrong" in out
    assert "looks like: a constant factor of 1.5" in out


@pytest.mark.parametrize(("name", "code"), [("right", 0), ("wrong", 1), ("unsure", 3)])
def test_json(module, capsys, name, code):
    assert run(["gradcheck", f"sloping:{name}_case", "--json"]) == code
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["status"] == {0: "pass", 1: "fail", 3: "inconclusive"}[code]
    assert verdict["size"] == 2
    assert verdict["evaluations"] > 0
    if code:
        assert set(verdict["worst"]) >= {"name", "index", "leaf", "analytic", "numeric", "error"}


def test_json_has_null_for_what_is_no_number(module, capsys):
    module.write_text(SOURCE + "\ndef broken():\n    return sphere, np.ones(1), lambda x: x * np.nan\n")
    assert run(["gradcheck", "sloping:broken", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["worst"]["analytic"] is None


def test_options_reach_the_check(module, capsys):
    np.save("large.npy", np.random.default_rng(0).normal(size=300))
    command = ["gradcheck", "sloping:sphere", "--point", "large.npy", "--gradient", "slope", "--json"]
    assert run([*command, "--directions", "5", "--seed", "3"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["directions"] % 5 == 0
    assert verdict["miss"] == 2.0**-5
    assert run(["gradcheck", "sloping:wrong_case", "--atol", "1e6", "--json"]) == 3  # so wide that nothing is shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sloping"], "FUNCTION is 'sloping'; write MODULE:FUNCTION or FILE.py:FUNCTION"),
        ([":sphere"], "write MODULE:FUNCTION"),
        (["sloping:"], "write MODULE:FUNCTION"),
        (["slopping:sphere"], "importing slopping raised ModuleNotFoundError: No module named 'slopping'"),
        (["missing.py:sphere"], "FUNCTION: there is no file missing.py"),
        (["broken.py:sphere"], "importing broken.py raised SyntaxError"),
        (["sloping:spere"], "sloping has no 'spere'"),
        (["sloping:sphere.deep"], "sloping has no 'sphere.deep'"),
        (["sloping:number"], "sloping:number is a int; name a function"),
        (["sloping:sphere"], "sloping:sphere takes a point; name one with --point FILE.npy"),
        (["sloping:odd_case"], "takes no argument and returned a function; return (f, x), (f, x, gradient) or"),
        (["sloping:odd_triple"], "takes no argument and returned a tuple of 3; return (f, x)"),
        (["sloping:sphere", "--point", "none.npy"], "--point: there is no file none.npy"),
        (["sloping:sphere", "--point", "text.npy"], "--point: text.npy cannot be read: it is no NumPy file of numbers"),
        (["sloping:sphere", "--point", "objects.npy"], "--point: objects.npy cannot be read"),
        pytest.param(
            ["sloping:sphere", "--point", "torn.npz"],
            "--point: torn.npz cannot be read",
        ),
        (["sloping:sphere", "--point", "."], "--point: . cannot be read"),
        (["sloping:sphere", "--point", "whole.npy", "--gradient", "slope"], "x is of int64; a gradient needs floats"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "slop"], "--gradient: sloping has no 'slop'"),
        (["sloping:sphere", "--point", "x.npy", "--gradient", "other:slope"], "--gradient: importing other raised"),
        (["sloping:by_numpy", "--point", "x.npy"], "JAX cannot differentiate f: it uses NumPy; give gradient="),
        (["sloping:right_case", "--rtol=-1"], "rtol"),
        (["sloping:right_case", "--directions", "0"], "directions"),
    ],
)
def test_errors_are_usage_errors(module, capsys, arguments, message):
    Path("broken.py").write_text("def f(:\n")
    Path("text.npy").write_text("not numbers")
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("torn.npz").write_bytes(Path("tree.npz").read_bytes()[:50])
    np.save("whole.npy", np.arange(3))
    assert run(["gradcheck", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in " ".join(err.split()), err
    assert "Traceback" not in err


def test_a_factory_that_raises(module, capsys):
    assert run(["gradcheck", "sloping:raising_case"]) == 2
    err = capsys.readouterr().err
    assert "no data here" in err
    assert "Traceback" not in err


def test_control_characters_in_names_are_shown(module, capsys):
    assert run(["gradcheck", "sloping:escape_case"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "31m" in out


def test_it_works_as_a_command(module):
    import subprocess

    command = [sys.executable, "-m", "thalweg", "gradcheck", "sloping.py:unsure_case"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("inconclusive")
    assert done.stderr == ""
