"""How many bytes are free: on the device, in the machine, in the container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jax

__all__ = ["available_bytes"]

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
# Version 2 and version 1 of control groups: folder, limit, use, and the page cache that the kernel gives back.
_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes() -> int:
    """Return the bytes free on the default device; on a CPU, in the machine or the container, whichever is less.

    A container's limit is that of its control group and of all groups around
    it (version 1 or 2). Files that the kernel only caches do not count as use.
    """
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return max(0, min(_machine(), *_containers()))


def _machine() -> int:
    for line in _lines(_MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    # No figure for what is free (macOS): half of what is built in.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _containers() -> Iterator[int]:
    yield 2**63  # no limit
    for part, limit, use, cache in _FILES:
        for folder in _group_folders(_GROUPS / part):
            bound, used = _number(folder / limit), _number(folder / use)
            if bound is not None and used is not None:
                yield bound - used + _entry(folder / "memory.stat", cache)


def _group_folders(root: Path) -> set[Path]:
    """The root, where a container finds its own group, and the folders of the process's group as the host names it."""
    folders = {root}
    for line in _lines(_OWN_GROUP):
        group = root / line.split(":", 2)[-1].strip("/")  # "4:memory:/a/b"; "0::/a/b" in version 2
        folders.update(folder for folder in (group, *group.parents) if folder.is_relative_to(root))
    return folders


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no such file, or a word such as "max" in it."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _entry(path: Path, name: str) -> int:
    for line in _lines(path):
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
