"""Parameters inside parameters: ``optimizer__learning_rate__peak`` for scikit-learn's searches.

A recipe's parts are frozen trees; a number inside one is changed by building the
parts around it anew, through their constructors, which check it.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx

from thalweg.search import children

__all__ = ["nested", "replaced"]


def nested(name: str, part: Any) -> dict[str, Any]:
    """Return the parameters inside a part by their nested names."""
    found: dict[str, Any] = {}
    if isinstance(part, eqx.Module):
        for inner, value in children(part):
            found[f"{name}__{inner}"] = value
            found |= nested(f"{name}__{inner}", value)
    return found


def replaced(part: Any, path: list[str], value: Any) -> Any:
    """Return a part with the parameter at a path inside it changed."""
    if not path:
        return value
    parts = dict(children(part)) if isinstance(part, eqx.Module) else {}
    if part is None:
        raise ValueError(
            f"there is no part yet whose {path[0]!r} could be set: give the part first, as penalty=L2(1e-3)"
        )
    if path[0] not in parts:
        known = ", ".join(parts) or "none"
        raise ValueError(f"{type(part).__name__} has no parameter {path[0]!r}; it has {known}")
    parts[path[0]] = replaced(parts[path[0]], path[1:], value)
    return type(part)(**parts)
