"""What the tests of trackers share: a tracker that remembers, and a space of which one trial diverges."""

from __future__ import annotations

from typing import Any

import thalweg as tw

__all__ = ["SPACE", "Follower", "Memory"]


class Memory:
    """Remembers what it is told, and fails where it is told to."""

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.calls: list[tuple[str, Any]] = []

    def _heard(self, what: str, told: Any) -> None:
        self.calls.append((what, told))
        if what in self.failures:
            raise self.failures[what]

    def begin(self, run: Any) -> None:
        self._heard("begin", run)

    def epoch(self, epoch: int, metrics: Any) -> None:
        self._heard("epoch", (epoch, {number: dict(row) for number, row in metrics.items()}))

    def end(self, run: Any) -> None:
        self._heard("end", run)

    def heard(self, what: str) -> list[Any]:
        return [told for name, told in self.calls if name == what]


class Follower(Memory):
    """Hears of trials that end, too."""

    def ended(self, trials: Any) -> None:
        self._heard("ended", dict(trials))


# The learning rate is searched far enough up for a trial to diverge.
SPACE = tw.Recipe(
    optimizer=tw.optimizers.SGD(tw.choice(1e-2, 1e-1, 1.0, 1e38)),
    penalty=tw.penalties.L2(1e-3),
    batch_size=64,
    epochs=4,
)
