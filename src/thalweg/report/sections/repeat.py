"""How to repeat the run, and the recipe as code for elsewhere."""

from __future__ import annotations

from thalweg.report.block import Code, Note, Part, Section, Table
from thalweg.report.records.repeat import RepeatRecord
from thalweg.report.words import seconds

__all__ = ["repeat_section"]

_TITLES = {"torch": "PyTorch", "optax": "JAX and Optax", "keras": "Keras", "sklearn": "scikit-learn"}


def repeat_section(record: RepeatRecord) -> Section:
    """Show commands to run, what the numbers depend on, and the training as code of other frameworks."""
    parts: list[Part] = []
    if record.command:
        parts.append(Code("The same run again", record.command))
    if record.recipe:
        parts.append(
            Code(
                "The winner's recipe (thalweg fit DATA --refit --recipe FILE trains it as the sweep did)",
                record.recipe,
                "toml",
                folded=True,
            )
        )
    if record.space:
        parts.append(Code("The search space, for thalweg sweep --recipe", record.space, "toml", folded=True))
    if record.python:
        parts.append(Code("The same in Python", record.python, "python"))
    if record.loading:
        parts.append(Code("Load it", record.loading, "python"))
    parts += [
        Code(f"The training in {_TITLES.get(name, name)}", text, "python", folded=True)
        for name, text in record.elsewhere
    ]
    facts = [*record.facts, *((f"time: {name}", seconds(spent)) for name, spent in record.seconds)]
    parts.append(Table(("what the numbers depend on", "value"), tuple(facts)))
    if record.note:
        parts.append(Note(record.note))
    return Section("repeat", "Repeat it", tuple(parts), short="Repeat it")
