"""The table of what each optimizer tracks, found out by `traits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.optimizers.adagrad import AdaGrad
from thalweg.optimizers.adam import Adam, AdamW
from thalweg.optimizers.lion import Lion
from thalweg.optimizers.rmsprop import RMSProp
from thalweg.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.optimizers.sgd import SGD
from thalweg.optimizers.traits import traits

__all__ = ["traits_table"]

_HEADINGS = {
    "first_moment": "first moment",
    "second_moment": "second moment",
    "leaky_second_moment": "leaky second moment",
    "bias_correction": "bias correction",
}


def traits_table(optimizers: Mapping[str, Any] | None = None) -> str:
    """Return a Markdown table of what optimizers track, ✓ or ✗: nothing of it is typed in, see `traits`.

    Arguments:
        optimizers: names and optimizers; by default SGD, its momenta, AdaGrad, RMSProp, Adam (also without bias
            correction) and the others that step entry by entry.
    """
    rows = {name: traits(optimizer) for name, optimizer in (_usual() if optimizers is None else optimizers).items()}
    width = max(len("optimizer"), *map(len, rows))
    lines = [
        f"| {'optimizer':{width}} | " + " | ".join(_HEADINGS.values()) + " |",
        f"| {'-' * width} | " + " | ".join(":" + "-" * (len(h) - 2) + ":" for h in _HEADINGS.values()) + " |",
    ]
    for name, found in rows.items():
        marks = (("✓" if found[key] else "✗").center(len(heading)) for key, heading in _HEADINGS.items())
        lines.append(f"| {name:{width}} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def _usual() -> dict[str, Any]:
    return {
        "SGD": SGD(1.0),
        "momentum": SGD(1.0, momentum=0.9),
        "Nesterov": SGD(1.0, momentum=0.9, nesterov=True),
        "AdaGrad": AdaGrad(1.0),
        "RMSProp": RMSProp(1.0),
        "Adam": Adam(1.0),
        "Adam, uncorrected": Adam(1.0, bias_correction=False),
        "AdamW": AdamW(1.0),
        "Lion": Lion(1.0),
        "schedule-free SGD": ScheduleFreeSGD(1.0),
        "schedule-free AdamW": ScheduleFreeAdamW(1.0),
    }
