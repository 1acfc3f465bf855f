"""Reports for CI services: JUnit XML, and Markdown with the drifted cells first."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from io import BytesIO

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from acdc_pipeline.regression.report import Report, summary_line
from acdc_pipeline.regression.verdict import Verdict
from acdc_pipeline.text import NONE

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

HeadLink = Callable[[str, str], str | None]
"""Returns the address of the page of a head (`a2.h1`) of a model (`zoo:attn-4l`), or None."""

_SIGNS = {
    "ok": "ok",
    "drift": "**drift**",
    "error": "**error**",
    "missing": "**no baseline**",
    "incompatible": "**incompatible**",
}


def summary_markdown(report: Report, link: HeadLink | None = None) -> str:
    """Return the report as Markdown, with all names escaped."""
    lines = [
        f"## Circuits of sweep {_escape(report.sweep)}",
        "",
        _escape(summary_line(report)) + ".",
    ]
    if report.verdicts:
        lines += ["", "| | cell | Jaccard | gained | lost | why |", "|---|---|---|---|---|---|"]
        order = sorted(report.verdicts, key=lambda verdict: verdict.status == "ok")
        lines += [_row(verdict) for verdict in order]
    for verdict in report.verdicts:
        if verdict.status != "ok":
            lines += ["", *_details(verdict, link)]
    if report.unused:
        names = ", ".join(f"<code>{_escape(name)}</code>" for name in report.unused)
        lines += ["", f"Baselines of no cell in this sweep: {names}."]
    return "\n".join(lines) + "\n"


def junit_xml(report: Report) -> bytes:
    """Return the report as a JUnit document with a test case per cell.

    Drift is a `failure`. Whatever prevented a comparison is an `error`: a failed run, a missing or
    unusable baseline, and, as a test case of its own, a report without any comparison.
    """
    class_name = _xml_text(f"acdc.regress.{report.sweep}")
    suite = TestSuite(_xml_text(f"acdc regress {report.sweep}"))
    for verdict in report.verdicts:
        case = TestCase(_xml_text(str(verdict.cell)), class_name, round(verdict.seconds, 3))
        if verdict.status == "drift":
            case.result = [_result(Failure, verdict.causes[0], "drift", verdict_text(verdict))]
        elif verdict.status != "ok":
            kind = verdict.status if verdict.error is None else type(verdict.error).__name__
            case.result = [_result(Error, verdict.causes[0], kind, verdict_text(verdict))]
        suite.add_testcase(case)
    if not report.compared:
        case = TestCase("cells", class_name, 0)
        case.result = [_result(Error, "nothing was compared", "NothingCompared", "")]
        suite.add_testcase(case)
    suite.time = round(sum(verdict.seconds for verdict in report.verdicts), 3)
    document = JUnitXml()
    document.add_testsuite(suite)
    stream = BytesIO()
    document.write(stream)  # pretty printing would lose the line breaks of attributes
    return stream.getvalue()


def verdict_text(verdict: Verdict) -> str:
    """Return everything known about a cell that is not ok, line by line."""
    lines = list(verdict.causes)
    for what, (gained, lost) in (("edges", verdict.edges), ("heads", verdict.heads)):
        if gained:
            lines.append(f"{what} gained: {', '.join(gained)}")
        if lost:
            lines.append(f"{what} lost: {', '.join(lost)}")
    lines += [f"note: {note}" for note in verdict.notes]
    if verdict.error is not None:
        lines += str(verdict.error).splitlines()[1:]
    return "\n".join(lines)


def _result(kind: type[Failure | Error], message: str, type_: str, text: str) -> Failure | Error:
    result = kind(_xml_text(message), type_)
    result.text = _xml_text(text)
    return result


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _row(verdict: Verdict) -> str:
    gained, lost = verdict.edges
    compared = bool(verdict.deviations)
    cells = [
        _SIGNS[verdict.status],
        _escape(str(verdict.cell)),
        f"{1 - verdict.deviations[0].distance:.3f}" if compared else NONE,
        str(len(gained)) if compared else NONE,
        str(len(lost)) if compared else NONE,
        _escape(verdict.causes[0]) if verdict.causes else "",
    ]
    return f"| {' | '.join(cells)} |"


def _details(verdict: Verdict, link: HeadLink | None) -> list[str]:
    lines = [
        f"<details><summary>{_escape(str(verdict.cell))}: {verdict.status}</summary>",
        "",
        *(f"- {_escape(cause)}" for cause in verdict.causes),
    ]
    for name, (gained, lost) in (("edges", verdict.edges), ("heads", verdict.heads)):
        for what, names in (("gained", gained), ("lost", lost)):
            if names:
                links = ", ".join(_name(text, verdict, link) for text in names)
                lines.append(f"- {name} {what}: {links}")
    lines += [f"- note: {_escape(note)}" for note in verdict.notes]
    if verdict.error is not None and verdict.error.fix:
        lines.append(f"- fix: {_escape(verdict.error.fix)}")
    return [*lines, "", "</details>"]


def _name(text: str, verdict: Verdict, link: HeadLink | None) -> str:
    source, arrow, rest = text.partition("->")
    if link is None:
        return f"`{text}`"
    target, angle, slot = rest.partition("<")
    linked = [_linked(node, verdict, link) for node in (source, target) if node]
    return "→".join(linked) + (f" ({slot.rstrip('>')})" if arrow and angle else "")


def _linked(node: str, verdict: Verdict, link: HeadLink) -> str:
    address = link(verdict.cell.model, node)
    return f"`{node}`" if address is None else f"[`{node}`]({address})"


def _escape(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_[]|":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
