"""Reports: self-contained pages, each one HTML file that asks no host for anything."""

from thalweg.report.race_page import race_page

__all__ = ["race_page"]
