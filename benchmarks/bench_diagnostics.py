"""How often each coded check hits, and how often it accuses a run that is not in that trouble.

Every check of `thalweg.diagnostics` is put to the small real training runs of ``diagnostic_corpus`` that were made to
show its trouble, or made not to. Thresholds were set with the runs of seeds 0 to 5 in view; those
counted here are of others (``--seeds``, 7 and 8 by default). ``--all`` also puts every check to the healthy runs of all
others: a table of how often each speaks.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections import Counter

import diagnostic_corpus
from common import table
from thalweg.diagnostics import CHECKS, Case
from thalweg.statistics import wilson


def cases(seeds: list[int]) -> dict[str, list[tuple[bool, Case]]]:
    """Return the labelled cases of every check, by code."""
    found: dict[str, list[tuple[bool, Case]]] = {}
    for module in pkgutil.iter_modules(diagnostic_corpus.__path__):
        corpus = importlib.import_module(f"diagnostic_corpus.{module.name}")
        for name in getattr(corpus, "__all__", ()):
            if name.endswith("_cases") and name[:4].isupper():
                some = found.setdefault(name.removesuffix("_cases"), [])
                some.extend(case for seed in seeds for case in getattr(corpus, name)(seed))
    return found


def hits(corpus: dict[str, list[tuple[bool, Case]]]) -> list[list[str]]:
    """Return a row a check: how many cases of each sort, how many of them it found, how many it could not judge."""
    rows = []
    for check in CHECKS:
        counts = Counter((label, check.examine(case).verdict) for label, case in corpus[check.code])
        row = [check.code, check.title]
        for label in (True, False):
            found, all_ = counts[label, "found"], sum(n for (sort, _), n in counts.items() if sort is label)
            low, high = wilson(found, all_)
            row.append(f"{found} of {all_} ({100 * low:.0f} to {100 * high:.0f} %)")
        rows.append([*row, str(counts[True, "not applicable"] + counts[False, "not applicable"])])
    return rows


def matrix(corpus: dict[str, list[tuple[bool, Case]]]) -> list[list[str]]:
    """Return how many of the healthy cases of each check (columns) every check (rows) accuses, under a row of codes."""
    codes = [check.code for check in CHECKS]
    rows = []
    for check in CHECKS:
        healthy = [[case for label, case in corpus[code] if not label] for code in codes]
        spoken = [sum(check.examine(case).verdict == "found" for case in some) for some in healthy]
        rows.append([check.code, *(f"{n}" for n in spoken)])
    return [["", *codes], *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--all", action="store_true", help="every check on the healthy runs of every other")
    options = parser.parse_args()
    corpus = cases(options.seeds)
    head = ["code", "trouble", "hits", "false alarms", "not judged"]
    seeds = ", ".join(map(str, options.seeds))
    table(f"Coded checks on the corpus of seeds {seeds}", head, hits(corpus), "diagnostics")
    if options.all:
        codes, *rows = matrix(corpus)
        table("Accusations of healthy runs, check by whose runs", codes, rows, "diagnostics_matrix")


if __name__ == "__main__":
    main()
