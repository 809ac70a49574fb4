"""Bar 4: a new process's `import thalweg`, and a cold `thalweg sweep digits` with its test accuracy."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from common import seconds, spread, table


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    thalweg = str(Path(sys.executable).parent / "thalweg")
    imported = seconds(lambda: run(sys.executable, "-c", "import thalweg") and None, repeats)
    helped = seconds(lambda: run(thalweg, "--help") and None, repeats)
    used = seconds(lambda: run(sys.executable, "-c", "from thalweg import sweep") and None, repeats)
    scores: list[float] = []

    def digits() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = run(thalweg, "sweep", "digits", "--json", "--out", f"{folder}/run")
        scores.append(json.loads(out)["best"]["test_accuracy"])

    swept = seconds(digits, repeats)
    accuracy = f"test accuracy {np.median(scores):.4f}"
    table(
        "Start-up, each in a new process",
        ["what", "s", ""],
        [
            ["import thalweg", spread(imported), ""],
            ["thalweg --help", spread(helped), ""],
            ["from thalweg import sweep (brings JAX)", spread(used), ""],
            ["thalweg sweep digits", spread(swept), accuracy],
        ],
        "startup",
    )


if __name__ == "__main__":
    main()
