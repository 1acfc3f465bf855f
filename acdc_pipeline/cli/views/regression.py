"""A regression as the terminal shows it: a row for each cell, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import note, say
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import counted, number

if TYPE_CHECKING:
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.regression.verdict import Verdict

MOST_EDGES = 8
"""So many edges gained, and as many lost, are named on the terminal."""

MOST_FILES = 3
"""So many baselines that no cell asks for are named there."""

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
    """The table on stdout, and below it why cells are not ok."""
    from acdc_pipeline.regression.report import summary_line

    if report.verdicts:
        print_table(COLUMNS, [_row(verdict) for verdict in report.verdicts])
    for verdict in report.verdicts:
        if verdict.status != "ok" and f"{verdict.cell.stem}.json" not in report.updated:
            _explain(verdict)
    for said in dict.fromkeys(n for v in report.verdicts if v.status == "ok" for n in v.notes):
        about = [v for v in report.verdicts if v.status == "ok" and said in v.notes]
        where = str(about[0].cell) if len(about) == 1 else f"{counted(len(about), 'cell')}"
        note(f"note: {where}: {said}", indent="      ")
    if report.unused:
        left = len(report.unused) - MOST_FILES
        more = f" and {left} more" if left > 0 else ""
        names = ", ".join(report.unused[:MOST_FILES])
        note(f"note: this sweep has no cell for {names}{more}", indent="      ")
    for name in report.updated:
        say(f"wrote {report.baselines}/{name}")
    say(f"\n{summary_line(report)}")


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
        "Jaccard": "–" if edges is None else f"{1 - edges.distance:.3f}",
        "at least": "–" if edges is None else f"{1 - edges.limit:.3f}",
        "gained": str(len(gained)) if edges else "–",
        "lost": str(len(lost)) if edges else "–",
        "faithfulness": "–"
        if faithfulness is None
        else f"{number(faithfulness.was)} -> {number(faithfulness.now)}",
        "seconds": f"{verdict.seconds:.1f}",
    }


def _explain(verdict: Verdict) -> None:
    say(f"\n{verdict.status}: {verdict.cell}")
    for cause in verdict.causes:
        say(f"  {cause}")
    for what, (gained, lost) in (("edges", verdict.edges), ("heads", verdict.heads)):
        for how, names in (("gained", gained), ("lost", lost)):
            if names:
                more = f" and {len(names) - MOST_EDGES} more" if len(names) > MOST_EDGES else ""
                say(f"  {what} {how}: {', '.join(names[:MOST_EDGES])}{more}")
    for said in verdict.notes:
        say(f"  note: {said}")
    if verdict.error is not None and verdict.error.fix:
        say(f"  fix: {verdict.error.fix}")
