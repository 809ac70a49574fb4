"""Reports: self-contained pages, each one HTML file that asks no host for anything."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.report.build import Report, build_report
    from thalweg.report.live import LiveReport
    from thalweg.report.race_html import race_page
    from thalweg.report.write import report_page, write_report

_HOMES = {
    "LiveReport": "live",
    "Report": "build",
    "build_report": "build",
    "race_page": "race_html",
    "report_page": "write",
    "write_report": "write",
}

__all__ = ["LiveReport", "Report", "build_report", "race_page", "report_page", "write_report"]


# When first used: Matplotlib's figures draw the records of this package, and the page of a race takes fields from them.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thalweg.report' has no attribute {name!r}")
    return getattr(import_module(f"thalweg.report.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
