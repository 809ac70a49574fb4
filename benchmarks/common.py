"""What the benchmarks share: data, timing, the machine's description, tables."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from thalweg.data import Dataset, load

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CIFAR10 = os.environ.get("THALWEG_CIFAR10", str(ROOT.parent / "shared" / "data" / "cifar10-images.tar.xz"))


def cifar10() -> Dataset:
    """Load the CIFAR-10 images that THALWEG_CIFAR10 names."""
    if not Path(CIFAR10).exists():
        sys.exit("this benchmark runs on the CIFAR-10 images: name their archive in THALWEG_CIFAR10")
    return load(CIFAR10)


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Time ``work`` that many times, each until its result is there; the caller warms up."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(work())
        taken.append(time.perf_counter() - start)
    return taken


def spread(values: Sequence[float]) -> str:
    """Write a median with its lowest and highest value."""
    return f"{np.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"


def machine() -> str:
    """Describe the machine and the versions in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = ("jax", "numpy", "torch", "scikit-learn", "optax")
    found = [f"{name} {version(name)}" for name in packages if installed(name)]
    device = jax.devices()[0]
    return f"{model}, {os.cpu_count()} cores, {device.platform}; Python {platform.python_version()}, " + ", ".join(
        found
    )


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> None:
    """Print a Markdown table with the machine above it, and keep it under results/."""
    lines = [f"## {title}", "", machine(), "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
