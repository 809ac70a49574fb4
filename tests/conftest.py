"""What all tests share: strict JAX, reproducible Hypothesis, double precision on demand, the CIFAR-10 images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Most of the tests' time is compiling, on arrays of a few hundred numbers: optimise little, and let XLA write LLVM's
# code itself, not by way of MLIR, which takes twice as long. `XLA_FLAGS= make test` compiles as users do.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
# A test process a core, so one BLAS thread each: more threads than cores spin while they wait for each other, and on a
# busy machine that takes several times as long in small products.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import jax.monitoring
import pytest

from thalweg.report import write

ROOT = Path(__file__).resolve().parent.parent
WRITE_REPORT = write.write_report

# A rank that JAX extends silently is nearly always a mistake in a shape.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling in the first example breaks any deadline. In CI the same examples run each time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Write reports in tests marked ``report`` alone: each takes a second or more, and a hundred tests save runs.

    A hook, since fixtures of a module are set up before any fixture of a test.
    """
    written = item.get_closest_marker("report") is not None
    write.write_report = WRITE_REPORT if written else lambda _, folder, **__: Path(folder) / write.FILE


@pytest.fixture
def x64() -> Iterator[None]:
    """Compute in float64 within one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The functions that JAX compiles from here on, by name: a cache's size will not do, since old entries leave it."""
    names: list[str] = []

    def listen(event: str, _seconds: float, fun_name: str = "", **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(fun_name.removeprefix("jit(").removesuffix(")"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="session")
def cifar10_path() -> Path:
    """The archive of the CIFAR-10 images: THALWEG_CIFAR10, or beside the checkout."""
    named = os.environ.get("THALWEG_CIFAR10")
    path = Path(named) if named else ROOT.parent / "shared" / "data" / "cifar10-images.tar.xz"
    path = path if path.is_absolute() else ROOT / path
    if not path.exists():
        if named:
            pytest.fail(f"THALWEG_CIFAR10 names {named}, which does not exist")
        pytest.skip("the CIFAR-10 images are not here; name their archive in THALWEG_CIFAR10")
    return path
