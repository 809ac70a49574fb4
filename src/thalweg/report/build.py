"""A report's records, all of them, from a run and its data."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from thalweg.diagnostics.case import Case, make_case
from thalweg.diagnostics.curvature_record import Curvature
from thalweg.diagnostics.trajectory import PlaneRecord
from thalweg.errors import ThalwegError
from thalweg.findings import Finding
from thalweg.paths.records import Path
from thalweg.report.block import Lacking
from thalweg.report.records.confusion import ConfusionRecord, confusion_record
from thalweg.report.records.curves import CurvesRecord, curves_record
from thalweg.report.records.hyperparameters import HyperparametersRecord, hyperparameters_record
from thalweg.report.records.mistakes import MistakesRecord, mistakes_record
from thalweg.report.records.rate_map import RateMapRecord, rate_map_record
from thalweg.report.records.repeat import RepeatRecord, repeat_record
from thalweg.report.records.sensitivity import SensitivityRecord, sensitivity_record
from thalweg.report.records.strengths import StrengthsRecord, path_record
from thalweg.report.records.templates import templates_record
from thalweg.report.records.trials import TrialTable, trial_table
from thalweg.report.records.verdict import VerdictRecord, verdict_record
from thalweg.report.records.winner_curvature import WinnerRates, winner_curvature, winner_rates
from thalweg.run import Run
from thalweg.views import TemplateRecord, WeightRecord

__all__ = ["Maker", "Report", "build_report"]

_T = TypeVar("_T")
_PRINTED: set[tuple[str, str, str]] = set()  # faults: a running sweep's report is made over and over


@dataclass(frozen=True)
class Report:
    """Everything that a report shows, in the order of its sections, as records; or why one of them is lacking.

    What does not apply is None: a path has no trials, a sweep no penalty path, and a run that is still
    being trained has no diagnoses. ``faults`` are records that an error of ours kept from being made.
    """

    verdict: VerdictRecord | Lacking
    trials: TrialTable | Lacking | None
    sensitivity: SensitivityRecord | Lacking | None
    findings: tuple[Finding, ...] | Lacking | None
    curves: CurvesRecord | Lacking | None
    hyperparameters: HyperparametersRecord | Lacking | None
    rate_map: RateMapRecord | Lacking | None
    confusion: ConfusionRecord | Lacking | None
    mistakes: MistakesRecord | Lacking | None
    templates: TemplateRecord | WeightRecord | Lacking | None
    path: StrengthsRecord | Lacking | None
    curvature: tuple[Curvature | Lacking, PlaneRecord | Lacking, WinnerRates | None] | None
    repeat: RepeatRecord | Lacking
    name: str  # of the data
    folder: str | None = None
    faults: tuple[str, ...] = ()


def build_report(
    run: Run | Path | Case, *, folder: str | None = None, curvature: bool | None = None, live: bool = False
) -> Report:
    """Build all records of a run; see `write.report_page` for the arguments.

    A record that an error keeps from being made is lacking, with the reason: the others are shown all the same.
    """
    case = run if isinstance(run, Case) else make_case(run)
    maker = Maker()
    sweep, path = case.sweep, case.path
    done = not live

    def of_sweep(name: str, build: Callable[[Run], _T]) -> _T | Lacking | None:
        return None if sweep is None else maker(name, build, sweep)

    def curved(one: Case) -> tuple[Curvature | Lacking, PlaneRecord | Lacking, WinnerRates | None]:
        return _curved(one, curvature is True)

    def of_case(name: str, build: Callable[[Case], _T]) -> _T | Lacking | None:
        return maker(name, build, case) if done else None

    hyperparameters = of_sweep("hyperparameters", hyperparameters_record)

    def rate_map(run: Run) -> RateMapRecord | Lacking:
        return rate_map_record(hyperparameters if isinstance(hyperparameters, HyperparametersRecord) else run)

    return Report(
        verdict=maker("verdict", verdict_record, case),
        trials=of_sweep("trials", trial_table),
        sensitivity=of_sweep("sensitivity", sensitivity_record),
        findings=of_case("diagnoses", _findings),
        curves=of_sweep("curves", curves_record),
        hyperparameters=hyperparameters,
        rate_map=of_sweep("rate map", rate_map),
        confusion=of_case("confusion", confusion_record),
        mistakes=of_case("mistakes", mistakes_record),
        templates=of_case("templates", templates_record),
        path=None if path is None else maker("path", path_record, path),
        curvature=None if curvature is False else _three(of_case("curvature", curved)),
        repeat=maker("repeat", repeat_record, case.run, folder),
        name=case.run.data.name,
        folder=folder,
        faults=tuple(maker.faults),
    )


def _findings(case: Case) -> tuple[Finding, ...]:
    # Here: the checks bring most of the diagnostics, which a page of a running sweep does without.
    from thalweg.diagnostics.diagnose import diagnose

    before = case.sweep.sanity if case.sweep is not None else ()
    found = diagnose(case).findings
    return tuple(sorted([*before, *found], key=lambda f: ("found", "passed", "not applicable").index(f.verdict)))


def _curved(case: Case, always: bool) -> tuple[Curvature | Lacking, PlaneRecord | Lacking, WinnerRates | None]:
    return *winner_curvature(case, always=always), None if case.sweep is None else winner_rates(case.sweep)


def _three(found: Any) -> Any:
    return (found, found, None) if isinstance(found, Lacking) else found


class Maker:
    """Makes records, and draws them; keeps an error in one of them from ending all the others."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def __call__(self, name: str, build: Callable[..., _T], *arguments: Any) -> _T | Lacking:
        try:
            return build(*arguments)
        except ThalwegError as error:
            return Lacking(str(error))
        except Exception as error:
            # A run of hours must have its report though we failed in one of its figures; the fault is told, not hidden.
            fault = f"{name}: {type(error).__name__}: {error}"
            self.faults.append(fault)
            _print_once(name, error, fault)
            what = f"{type(error).__name__}: {error}"
            return Lacking(f"It could not be made ({what}): a fault of ours; please report it.")


def _print_once(name: str, error: Exception, fault: str) -> None:
    """Print a fault with its traceback, once a process: one is the same where its type and its place are."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    known = (name, type(error).__name__, f"{place.filename}:{place.lineno}")
    if known in _PRINTED:
        return
    _PRINTED.add(known)
    traceback.print_exception(error)
    print(f"thalweg: the report's {fault}: this is a fault of ours; please report it", file=sys.stderr)
