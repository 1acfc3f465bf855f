"""A regression: a row per cell, and why cells are not ok."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import print_line, print_note
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.text import NONE, format_number, list_first, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.regression.verdict import Verdict

MAX_EDGES_NAMED = 8
MAX_FILES_NAMED = 3

COLUMNS = (
    Column("status"),
    Column("task", "name"),
    Column("model", "name"),
    Column("method"),
    Column("Jaccard", "number"),
    Column("at least", "number", rank=2),
    Column("gained", "number", rank=1),
    Column("lost", "number", rank=1),
    Column("faithfulness", rank=3),
    Column("seconds", "number", rank=4),
)


def print_report(report: Report) -> None:
    """Print the table and the reasons why cells are not ok; notes about the others on stderr."""
    from acdc_pipeline.regression.report import summary_line

    if report.verdicts:
        print_table(COLUMNS, [_row(verdict) for verdict in report.verdicts])
    for verdict in report.verdicts:
        if verdict.status != "ok" and f"{verdict.cell.stem}.json" not in report.updated:
            _print_reasons(verdict)
    passed = [verdict for verdict in report.verdicts if verdict.status == "ok"]
    for text in dict.fromkeys(text for verdict in passed for text in verdict.notes):
        cells = [verdict.cell for verdict in passed if text in verdict.notes]
        where = str(cells[0]) if len(cells) == 1 else pluralize(len(cells), "cell")
        print_note(f"note: {where}: {text}", indent="      ")
    if report.unused:
        names = list_first(report.unused, MAX_FILES_NAMED)
        print_note(f"note: this sweep has no cell for {names}", indent="      ")
    for name in report.updated:
        print_line(f"wrote {report.baselines}/{name}")
    print_line(f"\n{summary_line(report)}")


def _row(verdict: Verdict) -> dict[str, str]:
    cell = verdict.cell
    by_name = {deviation.statistic: deviation for deviation in verdict.deviations}
    edges, faithfulness = by_name.get("edges"), by_name.get("faithfulness")
    gained, lost = verdict.edges
    return {
        "status": verdict.status,
        "task": cell.task,
        "model": cell.model,
        "method": cell.method_text,
        "Jaccard": NONE if edges is None else f"{1 - edges.distance:.3f}",
        "at least": NONE if edges is None else f"{1 - edges.limit:.3f}",
        "gained": str(len(gained)) if edges else NONE,
        "lost": str(len(lost)) if edges else NONE,
        "faithfulness": NONE
        if faithfulness is None
        else f"{format_number(faithfulness.was)} -> {format_number(faithfulness.now)}",
        "seconds": f"{verdict.seconds:.1f}",
    }


def _print_reasons(verdict: Verdict) -> None:
    """Print why a cell is not ok, with the first of the edges and heads that changed."""
    print_line(f"\n{verdict.status}: {verdict.cell}")
    for cause in verdict.causes:
        print_line(f"  {cause}")
    for what, (gained, lost) in (("edges", verdict.edges), ("heads", verdict.heads)):
        for how, names in (("gained", gained), ("lost", lost)):
            if names:
                print_line(f"  {what} {how}: {list_first(names, MAX_EDGES_NAMED)}")
    for text in verdict.notes:
        print_line(f"  note: {text}")
    if verdict.error is not None and verdict.error.fix:
        print_line(f"  fix: {verdict.error.fix}")
