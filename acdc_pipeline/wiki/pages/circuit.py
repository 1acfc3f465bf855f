"""The page of a task in a model: its circuits, drawn, measured and listed edge by edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from acdc_pipeline.graph import Edge, Node
from acdc_pipeline.graph.edge import Receiver
from acdc_pipeline.plotting.axes import log_axis, percent_axis
from acdc_pipeline.plotting.circuit_series import SeriesEdge, SeriesFigure, draw_series
from acdc_pipeline.plotting.scatter import Mark, draw_scatter
from acdc_pipeline.wiki import numbers
from acdc_pipeline.wiki.circuits import SIZES, Cut, Question
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.model import cut_facts
from acdc_pipeline.wiki.site import Chapter
from acdc_pipeline.wiki.tasks import Task, published_edges
from acdc_pipeline.wiki.text import name, plain

Facts = dict[str, Any]

MOST_ROWS = 1500
"""Edges listed on the page; the Parquet file has them all."""

_SHOWN_PROMPTS = 3


def circuit_page(chapter: Chapter, question: Question, others: Sequence[Question]) -> Facts:
    """The facts of the page of a question.

    Args:
        chapter: the model.
        question: what the page is about.
        others: the same task under other settings.
    """
    model, task = chapter.model, chapter.tasks[question.task]
    title = f"{task.title} in {model.title}"
    trail = (
        ("Tasks", "t/index.html"),
        (task.title, f"t/{task.slug}/index.html"),
        (model.title, None),
    )
    label = f"{name(task.title)} in {name(model.title)}"
    figure = _figure(chapter, question, label)
    edges = _edges(chapter, question, task)
    cuts = [cut_facts(question, cut) for cut in question.cuts]
    return {
        **frame(2, title, *trail),
        "slug": model.slug,
        "model": model.title,
        "task": {"name": task.name, "title": task.title, "slug": task.slug},
        "behaviour": task.behaviour,
        "prompts": _prompts(question),
        "cuts": cuts,
        "other_metric": next((cut["other_metric"] for cut in cuts if cut["other_metric"]), None),
        "has_measured": any(cut["measured"] for cut in cuts),
        "has_thresholds": question.has_thresholds,
        "shown": question.shown,
        "figure": Markup(figure.svg),
        "drawn": figure.drawn,
        "left_out": figure.left_out,
        "curve": _curve(question, label),
        "settings": _settings(question),
        "heads": _heads(chapter, question),
        "edges": edges[:MOST_ROWS],
        "edges_left_out": max(0, len(edges) - MOST_ROWS),
        "has_published": any(row["published"] for row in edges),
        "reference": _reference(question),
        "warnings": _warnings(question, task),
        "others": [_other(other) for other in others],
        "version": model.data_version,
    }


def _figure(chapter: Chapter, question: Question, title: str) -> SeriesFigure:
    shown = question.cuts[question.shown]
    says = (
        f"{title}: {numbers.counted(len(shown.edges), 'edge')} of "
        f"{question.shape.n_edges:,}, {_named(question, shown)}. Every edge is in the table below."
    )
    drawn = [
        SeriesEdge(_edge(key), at, question.score(key)) for key, at in question.presence.items()
    ]

    def link(node: Node) -> str | None:
        return f"../../m/{chapter.model.slug}/{node}.html" if node.kind == "head" else None

    return draw_series(question.shape, drawn, shown=question.shown, label=plain(says), link=link)


def _edge(key: tuple[str, str, str]) -> Edge:
    src, dst, slot = key
    return Edge.into(Node.parse(src), Receiver.parse(f"{dst}<{slot}>" if slot else dst))


def _named(question: Question, cut: Cut) -> str:
    return f"τ = {cut.label}" if question.has_thresholds else f"{cut.label} edges"


def _curve(question: Question, title: str) -> Markup | None:
    """How faithful so many edges are; None where that was not measured."""
    points = [
        Mark(
            max(1.0, float(len(cut.edges))),
            cut.faithfulness,
            plain(f"τ {cut.label}" if question.has_thresholds else cut.label),
            css=f"cut-{index}",
        )
        for index, cut in enumerate(question.cuts)
        if cut.faithfulness is not None
    ]
    if not points:
        return None
    says = f"{title}: " + ", ".join(
        f"{numbers.percent(point.y)} with {numbers.counted(int(point.x), 'edge')}"
        for point in points
    )
    return Markup(
        draw_scatter(
            points,
            log_axis("edges kept", [point.x for point in points]),
            percent_axis("faithfulness", min(point.y for point in points)),
            label=plain(says),
            width=460,
            height=260,
            line=True,
            labelled=True,
        )
    )


def _edges(chapter: Chapter, question: Question, task: Task) -> list[Facts]:
    """Every edge of any circuit, those that survive longest first."""
    published = published_edges(chapter.model, task) or frozenset()

    def rank(item: tuple[tuple[str, str, str], tuple[bool, ...]]) -> tuple[int, float]:
        return item[1].index(True), -abs(question.score(item[0]) or 0.0)

    return [
        {
            "src": src,
            "dst": dst,
            "slot": slot,
            "src_page": src[0] == "a",
            "dst_page": dst[0] == "a",
            "score": question.score((src, dst, slot)),
            "cut": question.cuts[at.index(True)].label,
            "first": at.index(True),
            "published": (src, dst, slot) in published,
        }
        for (src, dst, slot), at in sorted(question.presence.items(), key=rank)
    ]


def _heads(chapter: Chapter, question: Question) -> list[Facts]:
    """Every head of any circuit, those that survive longest first."""
    rows = []
    for head, at in question.heads.items():
        node = Node.parse(head)
        held = chapter.model.roles.get((node.layer or 0, node.head or 0), ())
        mine = [r for r in held if r.on in (None, question.task)]
        rows.append(
            {
                "name": head,
                "first": at.index(True),
                "cut": question.cuts[at.index(True)].label,
                "roles": ", ".join(dict.fromkeys(r.role.replace("_", " ") for r in mine)),
                "arriving": len(question.arriving.get(head, ())),
                "leaving": len(question.leaving.get(head, ())),
                "place": (node.layer or 0, node.head or 0),
            }
        )
    return sorted(rows, key=lambda row: (row["first"], row["place"]))


def _settings(question: Question) -> list[tuple[str, str]]:
    spec = question.spec
    method = spec.method.plain()
    rows = [("method", str(method.pop("name")))]
    rows += [(key.replace("_", " "), str(v)) for key, v in method.items() if key not in SIZES]
    return [
        *rows,
        ("prompts", f"{spec.prompts:,}"),
        ("seed", str(spec.seed)),
        ("precision", spec.dtype),
    ]


def _prompts(question: Question) -> list[Facts]:
    """A few prompts, clean and corrupted."""
    details = question.cuts[0].run.details
    clean, corrupted = details.get("prompts_clean"), details.get("prompts_corrupted")
    if not isinstance(clean, list) or not isinstance(corrupted, list):
        return []
    pairs = zip(clean[:_SHOWN_PROMPTS], corrupted, strict=False)
    return [{"clean": str(a), "corrupted": str(b)} for a, b in pairs]


def _reference(question: Question) -> Facts | None:
    """How the circuit shown compares with the published one."""
    found = question.cuts[question.shown].run.details.get("reference")
    if not isinstance(found, dict):
        return None
    return {key: found.get(key) for key in ("compared", "source", "total", "found", "others")}


def _warnings(question: Question, task: Task) -> list[str]:
    lines: dict[str, None] = {}
    for cut in question.cuts:
        said = cut.run.details.get("warnings")
        lines |= dict.fromkeys(map(str, said if isinstance(said, list) else ()))
    if task.hash is not None and task.hash != question.spec.task_hash:
        lines["The task has been changed since these runs: its prompts are no longer the same."] = (
            None
        )
    return list(lines)


def _other(question: Question) -> Facts:
    return {
        "settings": ", ".join(f"{key} {value}" for key, value in _settings(question)),
        "cuts": [cut_facts(question, cut) for cut in question.cuts],
    }
