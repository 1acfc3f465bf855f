"""The report of a regression: its verdicts and exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, get_args

from acdc_pipeline.regression.verdict import Deviation, Status, Verdict
from acdc_pipeline.text import pluralize

OK, DRIFT, FAILED, NO_BASELINE = 0, 1, 3, 4

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Report:
    """The verdicts on the cells of a sweep.

    Args:
        baselines: the folder of the baselines, as it is shown.
        store: the store of the new runs; None if they were not kept.
        unused: names of baseline files that belong to no cell.
        updated: names of baseline files that were written.
    """

    sweep: str
    baselines: str
    store: str | None
    verdicts: tuple[Verdict, ...]
    unused: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[Status]:
        """Number of cells of each status."""
        return Counter(verdict.status for verdict in self.verdicts)

    @property
    def compared(self) -> int:
        """Number of cells that were compared with a baseline."""
        return sum(verdict.compared for verdict in self.verdicts)

    @property
    def exit_code(self) -> int:
        """Exit code: 1 drift; 3 a run failed or nothing was compared; 4 no baseline; 0 otherwise.

        Of several, 1 comes before 3, and 3 before 4. Cells whose baseline was written count as ok.
        """
        written = {name.removesuffix(".json") for name in self.updated}
        left = Counter(v.status for v in self.verdicts if v.cell.stem not in written)
        if left["drift"]:
            return DRIFT
        if left["error"]:
            return FAILED
        if left["missing"] or left["incompatible"]:
            return NO_BASELINE
        return OK if self.compared or self.updated else FAILED

    def plain(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        counts = self.counts
        return {
            "sweep": self.sweep,
            "baselines": self.baselines,
            "store": self.store,
            "exit_code": self.exit_code,
            "compared": self.compared,
            "counts": {status: counts[status] for status in STATUSES},
            "cells": [_verdict(verdict) for verdict in self.verdicts],
            "unused": list(self.unused),
            "updated": list(self.updated),
        }


def summary_line(report: Report) -> str:
    """Return the counts in a line, such as `12 cells: 11 ok, 1 drift`."""
    counts = report.counts
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    total = len(report.verdicts)
    line = f"{pluralize(total, 'cell')}: {', '.join(parts) or 'nothing to compare'}"
    if report.updated:
        return f"{line}; wrote {pluralize(len(report.updated), 'baseline')}"
    return line if report.compared or not total else f"{line}; nothing was compared"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    gained, lost = verdict.edges
    heads_gained, heads_lost = verdict.heads
    error = verdict.error
    return {
        "name": str(verdict.cell),
        "cell": verdict.cell.plain(),
        "baseline": f"{verdict.cell.stem}.json",
        "status": verdict.status,
        "causes": list(verdict.causes),
        "notes": list(verdict.notes),
        "statistics": [_statistic(deviation) for deviation in verdict.deviations],
        "edges": {"gained": list(gained), "lost": list(lost)},
        "heads": {"gained": list(heads_gained), "lost": list(heads_lost)},
        "run_id": verdict.run_id,
        "seconds": verdict.seconds,
        "error": None
        if error is None
        else {"kind": type(error).__name__, "problem": error.problem, **error.parts()},
    }


def _statistic(deviation: Deviation) -> dict[str, Any]:
    return {
        "name": deviation.statistic,
        "was": deviation.was,
        "now": deviation.now,
        "distance": deviation.distance,
        "limit": deviation.limit,
        "drifted": deviation.drifted,
    }
