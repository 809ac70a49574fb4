"""What an export says of itself, and how its text and its place are made safe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.atomic import write_bytes
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.recipe_files import encode

__all__ = ["Export", "about", "write_file"]


@dataclass(frozen=True)
class Export:
    """What was written.

    ``path`` is the file, or the folder; ``files`` are its files' sizes in bytes by
    name; ``classes`` is the order of the scores' columns; ``left_out`` says in words
    what the format cannot hold.
    """

    format: str
    path: Path
    files: dict[str, int]
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return what ``export --json`` prints."""
        return {
            "format": self.format,
            "path": str(self.path),
            "files": self.files,
            "bytes": sum(self.files.values()),
            "classes": list(self.classes),
            "left_out": list(self.left_out),
        }


def about(model: FittedModel) -> dict[str, str]:
    """Return a model's description as text by name, for a format's metadata: JSON in ASCII, but for the version."""
    from thalweg import __version__

    described = {
        "classes": model.classes,
        "feature_names": model.feature_names,
        "feature_shape": model.feature_shape,
        "feature_dtype": model.feature_dtype,
        "recipe": encode(model.recipe),
    }
    return {"thalweg_version": __version__, **{name: json.dumps(value) for name, value in described.items()}}


def write_file(path: str | Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file whole or not at all; one that exists is refused without ``overwrite``."""
    check_file(path, overwrite=overwrite)
    write_bytes(path, content)


def check_file(path: str | Path, *, overwrite: bool) -> None:
    """Raise a UsageError unless the file may be written."""
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file with --out")
    if path.exists() and not overwrite:
        raise UsageError(f"the file {path} exists; give another with --out, or replace it with --overwrite")
