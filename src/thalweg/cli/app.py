"""The commands, and how errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from thalweg import __version__
from thalweg.errors import ThalwegError

__all__ = ["app", "main"]

app = App(
    name="thalweg",
    help="Train every candidate linear classifier in one compiled program, and pick the best honestly.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# Commands are named by their module and loaded when called: `thalweg --help` need not wait for JAX.
for _order, (_name, _home, _help) in enumerate(
    (
        ("sweep", "train", "Search recipes, select on validation, score the test split once, write the run folder."),
        ("fit", "train", "Train one recipe, score the test split once, write the run folder."),
        ("path", "path", "Fit certified optima for a range of penalty strengths, choose by cross-validation."),
        ("report", "report", "Write a run's or race's report again: one HTML file that asks no host for anything."),
        ("diagnose", "diagnose", "Say why a run went as it did, and what to try next: coded checks with evidence."),
        ("gradcheck", "gradcheck", "Check a gradient: where it is wrong, how much, how sure that is."),
        ("race", "race", "Race optimisers on a landscape: steps, values, distances, pictures."),
        ("predict", "use", "Predict the class of every example: a table of name and class on stdout."),
        ("score", "use", "Score a model on labelled data; classes are matched by name."),
        ("info", "use", "Say what is in a data set, a run folder or a model file."),
        ("export", "export", "Write a model for another library: ONNX, scikit-learn or PyTorch."),
    )
):
    app.command(f"thalweg.cli.{_home}:{_name}", name=_name, help=_help, sort_key=_order)


_OPTIONS = {
    "image_size=(height, width)": "--image-size HEIGHTxWIDTH",
    "image_size": "--image-size",
    "skip_bad=True": "--skip-bad",
    "skip_bad": "--skip-bad",
    "points=": "--points ",
    "label=": "--label",
    "folds=0": "--folds 0",
    "search='grid'": "--search grid",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    try:
        code = run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        print("thalweg: interrupted", file=sys.stderr, flush=True)
        # At once: threads that are still computing crash where Python's usual end takes their memory away.
        os._exit(130)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 2 usage, 3 data, 4 every trial
    diverged, 130 interrupted, 1 a fault of ours. `gradcheck` has its own: 0 pass, 1 fail, 3 inconclusive."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"thalweg: {_plain(error)}\nSee thalweg --help.", file=sys.stderr)
        return 2
    except ThalwegError as error:
        print(f"thalweg: {_visible(_as_options(str(error)))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: no fault, and nothing more to say to it.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
        print(f"thalweg: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        print("thalweg: this is a fault of ours; please report it with the lines above", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _plain(error: CycloptsError) -> str:
    return " ".join(str(error).split())


def _as_options(text: str) -> str:
    """Write the library's argument names as the options that they are here."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text


def _visible(text: str) -> str:
    """Keep line breaks, make other control characters visible."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
