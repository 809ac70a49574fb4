"""What became of a trial, in a word, a place and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMPLETED", "DIVERGED", "INTERRUPTED", "PRUNED", "STATUSES", "STOPPED", "TRAINING", "Status"]

COMPLETED = "completed"
DIVERGED = "diverged"
PRUNED = "pruned"
STOPPED = "stopped early"
INTERRUPTED = "interrupted"
STATUSES = (COMPLETED, STOPPED, PRUNED, DIVERGED, INTERRUPTED)
"""How a trial may end, in words."""
TRAINING = "training"  # no end, so none of STATUSES: a trial of a run that goes on, never in a saved one


@dataclass(frozen=True)
class Status:
    """A trial's status: its name, where it came about, and the reason in words.

    ``at`` is the step for a diverged trial, the rung for a pruned one, the
    epoch for one that stopped early, was interrupted or still trains, None where completed.
    """

    name: str
    at: int | None
    reason: str

    @property
    def finished(self) -> bool:
        """True where training ran to an end of its own: such a trial may be selected."""
        return self.name in (COMPLETED, STOPPED)

    @classmethod
    def training(cls, epoch: int, epochs: int) -> Status:
        """Of a trial that has trained ``epoch`` epochs so far: 0 where it waits for its first."""
        so_far = f"trained {epoch} of {epochs} epochs so far" if epoch else f"waits for the first of {epochs} epochs"
        return cls(TRAINING, epoch, so_far)

    @classmethod
    def completed(cls, epochs: int) -> Status:
        return cls(COMPLETED, None, f"trained for all {epochs} epochs")

    @classmethod
    def diverged(cls, step: int, epoch: int) -> Status:
        return cls(
            DIVERGED,
            step,
            f"the loss left the finite numbers at step {step} (epoch {epoch}); a smaller learning rate may mend it",
        )

    @classmethod
    def pruned(cls, rung: int, epoch: int, accuracy: float, kept: int, of: int) -> Status:
        return cls(
            PRUNED,
            rung,
            f"dropped at rung {rung} (epoch {epoch}): validation accuracy {accuracy:.4f} "
            f"was not among the best {kept} of {of}",
        )

    @classmethod
    def stopped(cls, epoch: int, best: int, patience: int) -> Status:
        return cls(
            STOPPED,
            epoch,
            f"no better validation loss for {patience} epochs after epoch {best}, whose weights are kept",
        )

    @classmethod
    def reached(cls, epoch: int, loss: float, tolerance: float) -> Status:
        return cls(STOPPED, epoch, f"the data loss {loss:.4g} of epoch {epoch} fell under the tolerance {tolerance:g}")

    @classmethod
    def interrupted(cls, epoch: int, epochs: int) -> Status:
        return cls(INTERRUPTED, epoch, f"interrupted after {epoch} of {epochs} epochs")
