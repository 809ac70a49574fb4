"""What won, whether to believe it, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.findings import Finding
from thalweg.report.block import Fold, Note, Part, Section, Table, Tile
from thalweg.report.records.verdict import VerdictRecord
from thalweg.report.words import many, percent, seconds, value_text
from thalweg.selection import Edge
from thalweg.solvers.solution import CONVERGED

__all__ = ["verdict_section"]

_GAP = 2.58  # standard errors: beyond, in one of a hundred runs by chance
_FEW = 100  # test examples below which an interval is too wide to be of use, whatever the accuracy


def verdict_section(record: VerdictRecord, findings: Sequence[Finding] = ()) -> Section:
    """Say it in one sentence, then in numbers, then what speaks against it, then what to do next."""
    parts: list[Part] = []
    if tiles := _tiles(record):
        parts.append(tiles)
    parts += _cautions(record, findings)
    if steps := _next(record, findings):
        parts.append(Note("", title="What to try next", more=tuple(steps)))
    if record.recipe:
        what = "The winner" if record.kind != "path" else "The chosen solution"
        rows = tuple((name, value_text(value)) for name, value in record.recipe)
        parts.append(Table(("what was searched", "value"), rows, caption=what))
    if record.fixed:
        rows = tuple((name, value_text(value)) for name, value in record.fixed)
        parts.append(Fold("What was the same for all", (Table(("name", "value"), rows),)))
    return Section("verdict", headline(record), tuple(parts), lead=_lead(record), short="Verdict")


def headline(record: VerdictRecord) -> str:
    """Return the verdict in a sentence."""
    one = "solution" if record.kind == "path" else "trial"
    if record.training:
        work = f"Training {many(record.trials, one)}, {100 * record.progress:.0f} % done"
        if record.leader is None:
            return work
        number, accuracy = record.leader
        return f"{work}: trial {number} leads with {percent(accuracy)} of the validation examples"
    if record.winner is None:
        if record.interrupted:
            return "Stopped before anything could be selected"
        if record.kind == "path":
            return _unchosen(record.trials, record.statuses.get(CONVERGED, 0))
        if record.diverged == record.trials:
            return f"{'All ' if record.trials > 1 else 'The '}{many(record.trials, one)} diverged: nothing won"
        return "Nothing was selected"
    name = "The recipe" if record.kind == "fit" else f"{one.capitalize()} {record.winner}"
    verb = "is right on" if record.kind == "fit" else "won:"
    if record.test is not None:
        return f"{name} {verb} {percent(record.test.accuracy)} of {record.test.count:,} test examples"
    return f"{name} {verb} {percent(record.validation)} of the validation examples; no test split was scored"


def _unchosen(count: int, certified: int) -> str:
    """A path without cross-validation: what it holds."""
    what = many(count, "certified optimum", "certified optima")
    if certified < count:
        what = f"{many(count, 'solution')}, {certified} certified"
    return f"{what}: compared with no other" if count == 1 else f"{what}: none was chosen"


def _lead(record: VerdictRecord) -> str:
    if record.test is None:
        return ""
    low, high = record.test.interval
    text = f"With 95 % confidence between {percent(low)} and {percent(high)} on examples like these, scored once."
    if record.baseline is not None:
        text += f" Always naming the most frequent class would be right on {percent(record.baseline)}."
    return text


def _tiles(record: VerdictRecord) -> list[Tile]:
    tiles = []
    if record.test is not None:
        low, high = record.test.interval
        right = f"{record.test.correct:,} of {record.test.count:,} right"
        about = f"95 % interval {percent(low)} to {percent(high)}; {right}"
        tiles.append(Tile("test accuracy", percent(record.test.accuracy), about))
    if record.validation is not None and record.validation == record.validation:
        how = f"over {record.seeds} seeds" if record.seeds > 1 else "on validation"
        how = "over the folds" if record.kind == "path" else how
        error = "" if record.error is None else f"± {100 * record.error:.1f} points (standard error), "
        tiles.append(Tile("held-out accuracy", percent(record.validation), f"{error}{how}"))
    if record.compared:
        tiles.append(
            Tile("tied with it", f"{record.tied} of {record.compared}", "others that a paired test cannot tell from it")
        )
    if record.bound is not None:
        known = "certified" if record.certified else "not certified"
        tiles.append(Tile("distance from the optimum", f"≤ {record.bound:.1e}", f"of the objective; {known}"))
    if record.trials > 1 and record.kind != "path":
        ended = ", ".join(f"{count} {name}" for name, count in record.statuses.items())
        tiles.append(Tile("trials", f"{record.trials:,}", ended))
    spent = record.seconds.get("total")
    if spent is not None:
        work = record.seconds.get("train", record.seconds.get("solve"))
        tiles.append(
            Tile(
                "time",
                seconds(spent),
                "" if work is None else f"{seconds(work)} of it to {'solve' if record.kind == 'path' else 'train'}",
            )
        )
    return tiles


def _cautions(record: VerdictRecord, findings: Sequence[Finding]) -> list[Note]:
    """What speaks against the verdict, the gravest first; where nothing does, that."""
    notes: list[Note] = []
    if record.training:
        return [Note("Trials are still being trained: nothing is selected yet, and the test split is not scored.")]
    notes += [Note(_sentence(f), "error", _title(f)) for f in findings if _is(f, "error")]
    if record.interrupted:
        text = "The run was stopped early. The test split was not scored; run it again to finish."
        notes.append(Note(text, "warning"))
    if record.certified is False:
        notes.append(Note("The chosen solution is not certified to the tolerance that was asked for.", "warning"))
    notes += [Note(caveat, "warning") for caveat in record.caveats]
    if record.test is None and record.winner is not None and not record.interrupted:
        text = "No test split was held out: nothing says how well it does on examples it has not met."
        notes.append(Note(text, "warning"))
    if record.test is not None and record.test.count < _FEW:
        notes.append(Note(f"Only {record.test.count} test examples: the interval is wide.", "warning"))
    if record.test is not None and record.baseline is not None and record.test.interval[0] <= record.baseline:
        text = "The interval reaches down to what always naming the most frequent class would score."
        notes.append(Note(text, "warning", "No better than guessing, perhaps."))
    if record.gap is not None and record.gap > _GAP:
        assert record.test is not None
        assert record.validation is not None
        text = (
            f"{percent(record.test.accuracy)} on test against {percent(record.validation)} held out is more than "
            "chance explains: the test examples may not be more of the same, or training and held-out examples may "
            "share some."
        )
        notes.append(Note(text, "warning", "Worse on test than held out."))
    notes += [Note(_edge(edge), "warning", "At the edge of the search.") for edge in record.edges]
    notes += [Note(_sentence(f), "warning", _title(f)) for f in findings if _is(f, "warning")]
    notes += [Note(message) for message in record.messages]
    if record.skipped:
        names = ", ".join(record.skipped[:5]) + (", ..." if len(record.skipped) > 5 else "")
        notes.append(Note(f"{many(len(record.skipped), 'example')} could not be read and were left out: {names}."))
    passed = sum(finding.verdict == "passed" for finding in findings)
    # Where no check could be made, nothing is known to be good.
    if record.winner is not None and passed and not any(note.tone in ("error", "warning") for note in notes):
        inside = "" if record.kind == "fit" else ", and no best value is at the edge of its range"
        notes.insert(0, Note(f"Nothing speaks against it: {many(passed, 'check')} found nothing{inside}.", "good"))
    if record.better:
        were = "other was" if record.better == 1 else "others were"
        text = f"{record.better} {were} more accurate by the same test: the rule took the more regularised trial."
        notes.append(Note(text))
    if record.compared and record.tied > record.compared / 2 and not record.interrupted:
        notes.append(Note(_ties(record)))
    return notes


def _ties(record: VerdictRecord) -> str:
    """What the paired test leaves open. Only where it found others worse is being among the best more than luck."""
    if record.tied == record.compared:
        others = "the one other" if record.compared == 1 else f"any of the {record.compared} others"
        return f"The evidence cannot tell it from {others}: it ranks none of them, and which one won is partly luck."
    text = (
        f"The evidence cannot tell it from {record.tied} of {record.compared} others: which of them won is partly luck."
    )
    return text if record.better or not record.worse else f"{text} That it is among the best is not."


def _next(record: VerdictRecord, findings: Sequence[Finding]) -> list[str]:
    if record.training:
        return []
    if record.interrupted:
        return ["Run it again and let it finish: half-trained trials say little of what they would have come to."]
    if record.kind != "path" and record.trials and record.diverged == record.trials:
        return ["Search learning rates smaller by factors of ten, down to 1e-4 and below: every trial diverged."]
    steps = [_wider(edge) for edge in record.edges]
    remedies = [f.remedy for f in findings if f.verdict == "found" and f.remedy]
    steps += [remedy[0].upper() + remedy[1:] + ("" if remedy.endswith(".") else ".") for remedy in remedies[:4]]
    if record.compared and record.tied > record.compared / 2 and record.kind == "sweep":
        steps.append(
            "Take any of the tied trials that suits you better (simpler, cheaper). To tell them apart, judge them on "
            "more examples: --validation 0.3, or cross-validate with thalweg path."
        )
    if record.diverged > 0.4 * record.trials:
        steps.append(
            f"Lower the upper end of the learning rates: {record.diverged} of {record.trials} trials diverged."
        )
    return list(dict.fromkeys(steps))


def _wider(edge: Edge | str) -> str:
    if isinstance(edge, str):
        return "Extend the range of strengths at that end."
    end = f"above {edge.high:g}" if edge.side == "high" else f"below {edge.low:g}"
    return f"Let {edge.name} go {end}: the best value, {edge.value:.3g}, is at that end."


def _is(finding: Finding, severity: str) -> bool:
    return finding.verdict == "found" and finding.severity == severity


def _title(finding: Finding) -> str:
    return finding.title[:1].upper() + finding.title[1:] + "."


def _sentence(finding: Finding) -> str:
    text = finding.evidence
    return f"{text[0].upper()}{text[1:]} ({finding.code})." if text else finding.code


def _edge(edge: Any) -> str:
    text = edge.sentence() if isinstance(edge, Edge) else str(edge)
    return text[0].upper() + text[1:] + "."
