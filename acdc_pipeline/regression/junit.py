"""JUnit XML, as CI services read it: a test case for each cell."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from acdc_pipeline.regression.report import Report
from acdc_pipeline.regression.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: Report) -> bytes:
    """The report as a JUnit document.

    Drift is a `failure`. What kept a cell from being compared is an `error`: a run that failed, a
    baseline that is missing or of no use, and, as a case of its own, that nothing was compared.
    """
    cases = [_case(report, verdict) for verdict in report.verdicts]
    if not report.compared:
        case = ElementTree.Element("testcase", classname=_class(report), name="cells", time="0")
        _add(case, "error", "NothingCompared", "nothing was compared", "")
        cases.append(case)
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(f"acdc regress {report.sweep}"),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped="0",
        time=f"{sum(verdict.seconds for verdict in report.verdicts):.3f}",
    )
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(report: Report, verdict: Verdict) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        classname=_class(report),
        name=_clean(str(verdict.cell)),
        time=f"{verdict.seconds:.3f}",
    )
    if verdict.status == "ok":
        return case
    message = verdict.causes[0]
    if verdict.status == "drift":
        _add(case, "failure", "drift", message, explanation(verdict))
    else:
        kind = verdict.status if verdict.error is None else type(verdict.error).__name__
        _add(case, "error", kind, message, explanation(verdict))
    return case


def explanation(verdict: Verdict) -> str:
    """All that is to be said of a cell that is not ok, line by line."""
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


def _add(case: ElementTree.Element, tag: str, kind: str, message: str, text: str) -> None:
    child = ElementTree.SubElement(case, tag, type=kind, message=_clean(message))
    child.text = _clean(text)


def _class(report: Report) -> str:
    return _clean(f"acdc.regress.{report.sweep}")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
