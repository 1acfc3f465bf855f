"""Exit codes, JUnit and Markdown of regressions that ended in every way."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.regression.ci_reports import junit_xml, summary_markdown
from acdc_pipeline.regression.report import Report, summary_line
from acdc_pipeline.regression.verdict import Verdict, judge, judge_failure, judge_without_baseline
from tests.regressions import EDGES, MODEL, baseline, record

CELL = baseline().cell
OK = judge(baseline(), record(), MODEL, seconds=0.5)
DRIFT = judge(baseline(), record(EDGES[:3]), MODEL)
ERROR = judge_failure(CELL, baseline(), MODEL, ExecutionFailed("lost <\x00> & gone", fix="again"))
MISSING = judge_without_baseline(CELL)


def report(*verdicts: Verdict, **more: tuple[str, ...]) -> Report:
    return Report("regress", "results/baselines", None, verdicts, **more)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((OK, OK), 0),
        ((OK, DRIFT), 1),
        ((OK, ERROR), 3),
        ((OK, MISSING), 4),
        ((MISSING, ERROR), 3),
        ((ERROR, MISSING, DRIFT), 1),
        ((), 3),
    ],
)
def test_exit_code_is_that_of_the_worst_cell(verdicts: tuple[Verdict, ...], code: int):
    assert report(*verdicts).exit_code == code


def test_exit_code_of_cells_whose_baselines_were_written_is_zero():
    name = f"{CELL.stem}.json"
    assert report(MISSING, updated=(name,)).exit_code == 0
    assert report(DRIFT, updated=(name,)).exit_code == 0


def test_junit_drift_is_a_failure_and_all_else_an_error():
    suite = ElementTree.fromstring(junit_xml(report(OK, DRIFT, ERROR, MISSING)))[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "2",
        "skipped": "0",
    }
    kinds = [[(child.tag, child.get("type")) for child in case] for case in suite]
    assert kinds == [
        [],
        [("failure", "drift")],
        [("error", "ExecutionFailed")],
        [("error", "BaselineError")],
    ]
    drift = suite[1][0]
    assert drift.get("message") == "Jaccard of edges 0.600 (at least 0.667)"
    assert "edges lost: a1.h0->logits, input->logits" in (drift.text or "")


def test_junit_message_of_several_lines_keeps_its_line_breaks():
    error = ExecutionFailed("RuntimeError: one\ntwo")
    verdict = replace(ERROR, causes=(error.headline,), error=error)
    case = ElementTree.fromstring(junit_xml(report(verdict)))[0][0]
    assert case[0].get("message") == "RuntimeError: one\ntwo"


def test_junit_of_nothing_compared_is_an_error_of_its_own():
    suite = ElementTree.fromstring(junit_xml(report()))[0]
    assert suite.get("errors") == "1"
    assert suite[0][0].tag == "error"


def test_markdown_puts_what_drifted_first_and_escapes_what_it_says():
    text = summary_markdown(report(OK, ERROR, DRIFT, unused=("old.json", "`|<b>\n\udcff")))
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip() for row in rows] == ["**error**", "**drift**", "ok"]
    assert "lost &lt;" in text
    assert "<\x00>" not in text
    assert "<code>old.json</code>, <code>\\`\\|&lt;b&gt; \udcff</code>." in text


def test_markdown_leads_heads_to_their_pages():
    text = summary_markdown(
        report(DRIFT), lambda _, node: f"https://wiki/{node}" if node.startswith("a") else None
    )
    assert "[`a1.h0`](https://wiki/a1.h0)→`logits`" in text


def test_summary_line_counts_every_status():
    assert summary_line(report(OK, OK, DRIFT)) == "3 cells: 2 ok, 1 drift"
    assert summary_line(report(MISSING)) == "1 cell: 1 missing; nothing was compared"


def test_document_holds_every_statistic_with_its_limit():
    document = report(DRIFT).plain()
    assert document["exit_code"] == 1
    (cell,) = document["cells"]
    edges = next(s for s in cell["statistics"] if s["name"] == "edges")
    assert edges["drifted"]
    assert edges["distance"] == pytest.approx(0.4)
    assert edges["limit"] == pytest.approx(1 / 3)
