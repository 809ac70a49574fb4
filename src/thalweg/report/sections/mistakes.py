"""The section on the worst mistakes: the examples, what they are taken for, and how surely."""

from __future__ import annotations

from markupsafe import Markup

from thalweg.report.block import Lacking, Note, Part, Picture, Section, Table
from thalweg.report.records.mistakes import SURE, TRUSTED, UNLIKELY, UNUSUAL, Mistake, MistakesRecord
from thalweg.report.sections.images import LARGEST, image_tile, tiles
from thalweg.report.sections.naming import full, notes, shortened
from thalweg.report.words import percent

__all__ = ["mistakes_section"]

_LOOKED_AT = (
    "Whoever mends the data or the model by the mistakes on the test split has trained on it: the next test accuracy "
    "is no longer one of examples never met. To mend, look at the mistakes on the validation split."
)


def mistakes_section(record: MistakesRecord | Lacking) -> Section:
    """Show the mistakes as images with captions, or as a table where they are no images."""
    title, short = "Worst mistakes", "Mistakes"
    if isinstance(record, Lacking):
        return Section("mistakes", title, (record,), short=short)
    parts: list[Part] = [*notes(record.trained_on, record.caveats)]
    if not record.mistakes:
        parts.append(Note(_summary(record), "good"))
        return Section("mistakes", title, tuple(parts), short=short)
    if all(one.image is not None for one in record.mistakes):
        drawing = tiles(_tile(one) for one in record.mistakes)
        parts.append(Picture("Most confidently wrong", drawing, _summary(record), _table(record), wide=True))
    else:
        parts += [Note(_summary(record)), _table(record)]
    if record.split == "test":
        parts.append(Note(_LOOKED_AT))
    lead = f"The {record.split} examples that the selected model gets wrong with most confidence."
    return Section("mistakes", title, tuple(parts), lead, short)


def _tile(one: Mistake) -> Markup:
    words = Markup("{} → {}<span>{}</span><span>{}</span>").format(
        shortened(one.true, 24), shortened(one.predicted, 24), _confidence(one), _breakable(shortened(one.source, 48))
    )
    if one.questionable:
        words += Markup('<strong class="flag">possible label error</strong>')
    assert one.image is not None
    return image_tile(one.image, f"true {shortened(one.true)}, predicted {shortened(one.predicted)}", words)


def _breakable(source: str) -> Markup:
    """Let a file's name break after its folders."""
    return Markup("/<wbr>").join(source.split("/"))


def _confidence(one: Mistake) -> str:
    if one.probability is None:
        return f"margin {one.margin:.3g}"
    return f"{_per_cent(one.probability)} sure"


def _per_cent(share: float) -> str:
    """Write a share that is not quite all as less than all."""
    return "> 99.9 %" if share > 0.999 else percent(share)


def _summary(record: MistakesRecord) -> str:
    if not record.wrong:
        return f"No mistake among {record.count:,} {record.split} examples."
    parts = [
        f"{record.wrong:,} of {record.count:,} {record.split} examples are predicted wrong; "
        f"{'all' if record.wrong == len(record.mistakes) else f'the worst {len(record.mistakes)}'} are shown.",
        "Read: true class → predicted class.",
    ]
    if record.measure == "probability":
        parts += [
            "Order: by the model's probability of the predicted class less that of the true one.",
            _doubts(record),
        ]
    else:
        parts.append(
            "Order: by the score of the predicted class above that of the true one. These scores are no "
            "probabilities, so no label is called into question."
        )
    if any(one.image is not None and max(one.image.shape[:2]) > LARGEST for one in record.mistakes):
        parts.append(f"Images are reduced to {LARGEST} pixels.")
    if any(one.unusual for one in record.mistakes):
        parts.append(
            f"Unusual features are those {UNUSUAL:g} or more standard deviations from their mean over the training "
            "examples, with how many."
        )
    return " ".join(parts)


def _doubts(record: MistakesRecord) -> str:
    """Say which labels are called into question, or why none is."""
    if not record.trusted:
        return (
            f"No label is called into question: of the {record.sure:,} examples to which the model gives a class at "
            f"least {SURE:g}, it is right on {percent(record.sure_right / record.sure)}, so such mistakes are more "
            "likely its own."
        )
    return (
        f"“Possible label error” stands where the predicted class has a probability of at least {SURE:g} and the "
        f"true class less than {UNLIKELY:g} ({record.questionable:,} of the {record.wrong:,} mistakes), since a model "
        f"this sure is right on {TRUSTED:.0%} or more: a label worth a look, which may well be right."
    )


def _table(record: MistakesRecord) -> Table:
    softmax = record.measure == "probability"
    columns = ["true class", "predicted class"]
    columns += ["probability of predicted", "probability of true"] if softmax else ["score margin"]
    unusual = any(one.unusual for one in record.mistakes)
    columns += ["label", "from"] if softmax else ["from"]
    rows = []
    for one in record.mistakes:
        row: list[str | float | None] = [full(one.true), full(one.predicted)]
        row += [one.probability, one.probability_of_true] if softmax else [one.margin]
        row += ["possible label error" if one.questionable else ""] if softmax else []
        rows.append((*row, full(one.source), *([_unusual(one)] if unusual else [])))
    caption = "The most confident first; rows count from 0"
    if unusual:
        columns.append("unusual features")
    return Table(tuple(columns), tuple(rows), caption, total=record.wrong)


def _unusual(one: Mistake) -> str:
    return ", ".join(f"{shortened(name, 30)} {value:+.1f}".replace("-", "−") for name, value in one.unusual) or "none"
