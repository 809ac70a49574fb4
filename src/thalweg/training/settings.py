"""How trials are trained, beside what each recipe says."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.fields import check_integer, check_number
from thalweg.training.halving import Halving

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What holds for all trials of a training.

    Arguments:
        halving: drops the worst trials at rungs; None trains all.
        patience: epochs without a lower validation loss after which a trial
            stops, its best epoch's weights kept; None: no such stop.
        tolerance: data loss under which a trial stops; None: no
            such stop.
        memory: bytes that data and trials may take; None: 70 % of what is free.
        epochs: ends every trial after so many epochs of its recipe, schedules
            unchanged; None: all of them.
    """

    halving: Halving | None = None
    patience: int | None = None
    tolerance: float | None = None
    memory: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        for name in ("patience", "memory", "epochs"):
            if (value := getattr(self, name)) is not None:
                check_integer("training", name, value, least=1)
        if self.tolerance is not None:
            check_number("training", "tolerance", self.tolerance, above=0)
