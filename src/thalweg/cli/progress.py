"""Progress on stderr: one aggregate line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from thalweg.cli.output import shown
from thalweg.training import Snapshot

__all__ = ["ProgressLine"]


PLAIN_SECONDS = 10.0  # between two lines where there is no terminal


class ProgressLine:
    """Shows snapshots of a sweep; in a terminal it rewrites one line, elsewhere it prints one every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.period = 0.1 if self.terminal else PLAIN_SECONDS
        self.shown_at = time.monotonic() if not self.terminal else 0.0
        self.width = 0

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.message:
            self.say(snapshot.message)
        self.report(snapshot.stage or sentence(snapshot))

    def report(self, text: str) -> None:
        """Show where the work stands, if the last such line is old enough."""
        now = time.monotonic()
        if now - self.shown_at >= self.period:
            self.shown_at = now
            self._line(text)

    def say(self, text: str) -> None:
        """Print lines of their own, control characters made visible: names come from data."""
        self.clear()
        for line in text.split("\n"):
            print(shown(line), file=self.stream, flush=True)

    def clear(self) -> None:
        """Wipe the line that is being rewritten."""
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0

    def _line(self, text: str) -> None:
        text = shown(text)
        if not self.terminal:
            print(text, file=self.stream, flush=True)
            return
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)


def sentence(snapshot: Snapshot) -> str:
    """Say where a sweep stands: ``training 62 %: 412 live, 31 diverged, best 0.914``."""
    parts = [f"{snapshot.live} live"]
    for count, word in (
        (snapshot.finished, "done"),
        (snapshot.pruned, "pruned"),
        (snapshot.diverged, "diverged"),
    ):
        if count:
            parts.append(f"{count} {word}")
    if snapshot.best == snapshot.best:
        parts.append(f"best {snapshot.best:.4f}")
    return f"training {snapshot.work_done:4.0%}: " + ", ".join(parts)
