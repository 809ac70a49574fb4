"""Double precision where it is the point, without a global switch."""

from __future__ import annotations

from typing import Any

import jax
import jax.experimental

__all__ = ["double"]


def double() -> Any:
    """Return a context within which JAX computes in float64, in this thread."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return jax.experimental.enable_x64(True)  # type: ignore[attr-defined]  # before JAX 0.8
