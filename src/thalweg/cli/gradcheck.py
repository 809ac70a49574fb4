"""`thalweg gradcheck`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from thalweg.cli.options import Whole
from thalweg.cli.output import print_json, shown
from thalweg.errors import UsageError, nearest
from thalweg.gradients import Verdict, gradgradcheck
from thalweg.gradients import gradcheck as check

_FAULT = 70  # as sysexits.h has it
_EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}


def gradcheck(
    function: str,
    *,
    point: Path | None = None,
    gradient: str | None = None,
    second: Annotated[bool, Parameter(negative="")] = False,
    rtol: float | None = None,
    atol: float | None = None,
    directions: Whole = 12,
    seed: Whole = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check a gradient: exit code 0 for pass, 1 for fail, 3 for inconclusive.

    Without --gradient that of automatic differentiation is checked, as JAX takes it of FUNCTION.

    Parameters
    ----------
    function
        MODULE:FUNCTION, or FILE.py:FUNCTION, a function of one argument. One without arguments is called, and
        returns (f, x), (f, x, gradient) or (f, x, gradient, hessian).
    point
        The point x: a .npy file, or an .npz, which becomes a dictionary of its arrays.
    gradient
        MODULE:FUNCTION that returns the gradient at x; a name alone is looked up beside FUNCTION.
    second
        Check the second derivatives instead.
    rtol
        Allow this relative error; by default 1e-6, or 2e-5 in float32.
    atol
        Allow this absolute error.
    directions
        Random directions for each group of entries, where there are more than 100.
    seed
        Of the random directions.
    json
        Print one JSON object and nothing else on stdout.
    """
    # What f prints must not stand in the result; and a script that leaves must not look like a pass.
    try:
        with contextlib.redirect_stdout(sys.stderr):
            f, x, slope, hessian = _case(function, point, gradient)
            if second:
                verdict = gradgradcheck(f, x, slope, hessian, rtol=rtol, atol=atol, directions=directions, seed=seed)
            else:
                verdict = check(f, x, slope, rtol=rtol, atol=atol, directions=directions, seed=seed)
    except SystemExit as left:
        text = f"{function} called sys.exit({left.code!r}); put that behind if __name__ == '__main__'"
        raise UsageError(text) from left
    except UsageError:
        raise
    except Exception:
        traceback.print_exc()
        print("thalweg: this is a fault of ours; please report it with the lines above", file=sys.stderr)
        return _FAULT  # 1 would say that the gradient is wrong
    if json:
        print_json(verdict.to_dict())
    else:
        _print(verdict)
    return _EXIT[verdict.status]


def _print(verdict: Verdict) -> None:
    for line in str(verdict).split("\n"):
        print(shown(line))


def _case(function: str, point: Path | None, gradient: str | None) -> tuple[Callable[[Any], Any], Any, Any, Any]:
    """Return f, x, the gradient and the second derivatives that the command line names."""
    module, f = _named(function, "FUNCTION")
    slope = hessian = None
    if _takes_nothing(f):
        made = _made(f, function)
        if not isinstance(made, tuple) or len(made) not in (2, 3, 4) or not callable(made[0]):
            raise UsageError(
                f"{function} takes no argument and returned {_brief(made)}; return (f, x), (f, x, gradient) or "
                "(f, x, gradient, hessian)"
            )
        f, x, *given = made
        slope, hessian = (*given, None, None)[:2]
        if point is not None:
            x = _read(point)
    elif point is None:
        raise UsageError(f"{function} takes a point; name one with --point FILE.npy")
    else:
        x = _read(point)
    if gradient is not None:
        slope = _lookup(module, gradient, "--gradient") if ":" not in gradient else _named(gradient, "--gradient")[1]
    return f, x, slope, hessian


def _made(f: Callable[[], Any], name: str) -> Any:
    try:
        return f()
    except Exception as error:
        raise UsageError(f"{name} takes no argument, was called, and raised {type(error).__name__}: {error}") from error


def _takes_nothing(f: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # some compiled functions have no signature; they take a point
        return False
    return not any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)


def _named(text: str, what: str) -> tuple[ModuleType, Callable[..., Any]]:
    home, colon, name = text.rpartition(":")
    if not colon or not home or not name:
        raise UsageError(f"{what} is {text!r}; write MODULE:FUNCTION or FILE.py:FUNCTION")
    module = _module(home, what)
    return module, _lookup(module, name, what)


def _module(home: str, what: str) -> ModuleType:
    try:
        if home.endswith(".py"):
            if not Path(home).is_file():
                raise UsageError(f"{what}: there is no file {home}")
            sys.path.insert(0, str(Path(home).resolve().parent))
            spec = importlib.util.spec_from_file_location(Path(home).stem, home)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            return module
        sys.path.insert(0, os.getcwd())  # as python -m does
        return importlib.import_module(home)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{what}: importing {home} raised {type(error).__name__}: {error}") from error


def _lookup(module: ModuleType, name: str, what: str) -> Callable[..., Any]:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n in vars(found) if callable(getattr(found, n))] if hasattr(found, "__dict__") else []
            raise UsageError(f"{what}: {module.__name__} has no {name!r}{nearest(name, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{what}: {module.__name__}:{name} is a {type(found).__name__}; name a function")
    return found


def _read(path: Path) -> Any:
    """Return the array or arrays of a file; a damaged one is a usage error: exit code 3 means inconclusive here."""
    if not path.exists():
        raise UsageError(f"--point: there is no file {path}")
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {name: found[name] for name in found.files} if isinstance(found, np.lib.npyio.NpzFile) else found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # NumPy's own words for a file of another kind advise to unpickle it.
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no NumPy file of numbers"
        raise UsageError(f"--point: {path} cannot be read: {why}; write it with numpy.save or numpy.savez") from error


def _brief(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple) else "")
