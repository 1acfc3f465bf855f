"""Markdown for the page that a CI service shows: what drifted first, the rest folded away."""

from __future__ import annotations

import html
from collections.abc import Callable

from acdc_pipeline.regression.report import Report, summary_line
from acdc_pipeline.regression.verdict import Verdict

HeadLink = Callable[[str, str], str | None]
"""The address of a head's page (`a2.h1`) in a model (`zoo:attn-4l`), or None."""

_SIGNS = {
    "ok": "ok",
    "drift": "**drift**",
    "error": "**error**",
    "missing": "**no baseline**",
    "incompatible": "**incompatible**",
}


def summary_markdown(report: Report, link: HeadLink | None = None) -> str:
    """The report as Markdown; every name in it is escaped.

    Args:
        report: what to tell.
        link: where heads have pages.
    """
    lines = [f"## Circuits of sweep {_text(report.sweep)}", "", _text(summary_line(report)) + "."]
    if report.verdicts:
        lines += ["", "| | cell | Jaccard | gained | lost | why |", "|---|---|---|---|---|---|"]
        order = sorted(report.verdicts, key=lambda verdict: verdict.status == "ok")
        lines += [_row(verdict) for verdict in order]
    for verdict in report.verdicts:
        if verdict.status != "ok":
            lines += ["", *_details(verdict, link)]
    if report.unused:
        names = ", ".join(f"<code>{_text(name)}</code>" for name in report.unused)
        lines += ["", f"Baselines that no cell asks for: {names}."]
    return "\n".join(lines) + "\n"


def _row(verdict: Verdict) -> str:
    gained, lost = verdict.edges
    compared = bool(verdict.deviations)
    cells = [
        _SIGNS[verdict.status],
        _text(str(verdict.cell)),
        f"{1 - verdict.deviations[0].distance:.3f}" if compared else "–",
        str(len(gained)) if compared else "–",
        str(len(lost)) if compared else "–",
        _text(verdict.causes[0]) if verdict.causes else "",
    ]
    return f"| {' | '.join(cells)} |"


def _details(verdict: Verdict, link: HeadLink | None) -> list[str]:
    lines = [
        f"<details><summary>{_text(str(verdict.cell))}: {verdict.status}</summary>",
        "",
        *(f"- {_text(cause)}" for cause in verdict.causes),
    ]
    for name, (gained, lost) in (("edges", verdict.edges), ("heads", verdict.heads)):
        for what, names in (("gained", gained), ("lost", lost)):
            if names:
                said = ", ".join(_name(text, verdict, link) for text in names)
                lines.append(f"- {name} {what}: {said}")
    lines += [f"- note: {_text(note)}" for note in verdict.notes]
    if verdict.error is not None and verdict.error.fix:
        lines.append(f"- fix: {_text(verdict.error.fix)}")
    return [*lines, "", "</details>"]


def _name(text: str, verdict: Verdict, link: HeadLink | None) -> str:
    """A node or an edge; a head in it leads to its page where it has one."""
    source, arrow, rest = text.partition("->")
    if link is None:
        return f"`{text}`"
    target, angle, slot = rest.partition("<")
    linked = [_linked(node, verdict, link) for node in (source, target) if node]
    return "→".join(linked) + (f" ({slot.rstrip('>')})" if arrow and angle else "")


def _linked(node: str, verdict: Verdict, link: HeadLink) -> str:
    address = link(verdict.cell.model, node)
    return f"`{node}`" if address is None else f"[`{node}`]({address})"


def _text(text: str) -> str:
    """Text that Markdown shows as it is, in one cell of a table."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_[]|":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
