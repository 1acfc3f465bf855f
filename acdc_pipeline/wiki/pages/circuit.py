"""The page of a task in a model: its circuits, drawn, measured and listed edge by edge."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from acdc_pipeline.graph import Edge, Node
from acdc_pipeline.graph.edge import Receiver
from acdc_pipeline.plotting.axes import log_axis, percent_axis
from acdc_pipeline.plotting.circuit_series import SeriesEdge, SeriesFigure, draw_series
from acdc_pipeline.plotting.scatter import Mark, draw_scatter
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.circuits import SIZES, CircuitSeries, Cut, EdgeKey, other_faithfulness
from acdc_pipeline.wiki.model_data import evaluation_data, pick
from acdc_pipeline.wiki.models import Model, head_index
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.tasks import Task, published_edges
from acdc_pipeline.wiki.text import show_line, show_name

MAX_ROWS = 1500
"""Number of edges listed on the page; the Parquet file contains all."""

_MAX_PROMPTS = 3
_METRICS = ("kl", "accuracy", "model_accuracy", "forced_choice", "model_forced_choice")


class CircuitPage(SectionPage[str]):
    """The page of a task in a model."""

    template = "circuit.html"

    def paths(self) -> Iterator[tuple[str, str]]:
        for task in self.section.model.circuits:
            yield f"t/{self.section.tasks[task].slug}/{self.section.model.slug}.html", task

    def data(self, task_name: str) -> Data:
        model, task = self.section.model, self.section.tasks[task_name]
        series, *others = model.circuits[task_name]
        trail = (
            ("Tasks", "t/index.html"),
            (task.title, f"t/{task.slug}/index.html"),
            (model.title, None),
        )
        label = f"{show_name(task.title)} in {show_name(model.title)}"
        figure = _draw(model, series, label)
        edges = _edges(model, series, task)
        cuts = [cut_data(series, cut) for cut in series.cuts]
        return {
            **frame(2, f"{task.title} in {model.title}", *trail),
            "model": model,
            "task": task,
            "prompts": _prompts(series),
            "cuts": cuts,
            "other_metric": next((c["other_metric"] for c in cuts if c["other_metric"]), None),
            "is_evaluated": any(cut["evaluation"] for cut in cuts),
            "has_thresholds": series.has_thresholds,
            "has_experts": bool(series.shape.experts),
            "shown": series.first_shown,
            "figure": figure,
            "curve": _plot_faithfulness(series, label),
            "settings": _settings(series),
            "heads": _heads(model, series),
            "edges": edges[:MAX_ROWS],
            "edges_left_out": max(0, len(edges) - MAX_ROWS),
            "has_published": any(row["published"] for row in edges),
            "reference": _reference(series),
            "warnings": _warnings(series, task),
            "others": [
                {
                    "settings": ", ".join(f"{key} {value}" for key, value in _settings(other)),
                    "cuts": [cut_data(other, cut) for cut in other.cuts],
                }
                for other in others
            ],
        }


def cut_data(series: CircuitSeries, cut: Cut) -> Data:
    """Return size and quality of one circuit of a series."""
    other_metric, faithfulness = other_faithfulness(cut.run) or (None, None)
    return {
        **pick(cut, "label", "share", "faithfulness"),
        "is_threshold": series.has_thresholds,
        "edges": len(cut.edges),
        "bar": round(100 * min(1.0, max(0.0, cut.faithfulness or 0.0)), 1),
        "other_metric": other_metric,
        "other_faithfulness": faithfulness,
        "evaluation": evaluation_data(cut.run.figures),
        **{metric: cut.run.metrics.get(metric) for metric in _METRICS},
        "run": cut.run.run_id,
    }


def _draw(model: Model, series: CircuitSeries, title: str) -> SeriesFigure:
    shown = series.cuts[series.first_shown]
    label = (
        f"{title}: {text.pluralize(len(shown.edges), 'edge')} of {series.shape.n_edges:,}, "
        f"{series.describe(shown)}. Every edge is in the table below."
    )
    drawn = [
        SeriesEdge(_parse_edge(key), inside, series.score(key))
        for key, inside in series.edges.items()
    ]

    def link(node: Node) -> str | None:
        return f"../../m/{model.slug}/{node}.html" if node.kind == "head" else None

    return draw_series(
        series.shape, drawn, shown=series.first_shown, label=show_line(label), link=link
    )


def _parse_edge(key: EdgeKey) -> Edge:
    src, dst, slot = key
    return Edge.into(Node.parse(src), Receiver.parse(f"{dst}<{slot}>" if slot else dst))


def _plot_faithfulness(series: CircuitSeries, title: str) -> Markup | None:
    """Plot faithfulness against the number of edges; None where it was not measured."""
    points = [
        Mark(
            max(1.0, float(len(cut.edges))),
            cut.faithfulness,
            show_line(f"τ {cut.label}" if series.has_thresholds else cut.label),
            css=f"cut-{index}",
        )
        for index, cut in enumerate(series.cuts)
        if cut.faithfulness is not None
    ]
    if not points:
        return None
    label = f"{title}: " + ", ".join(
        f"{text.format_percent(point.y)} with {text.pluralize(int(point.x), 'edge')}"
        for point in points
    )
    return Markup(
        draw_scatter(
            points,
            log_axis("edges kept", [point.x for point in points]),
            percent_axis("faithfulness", min(point.y for point in points)),
            label=show_line(label),
            width=460,
            height=260,
            line=True,
            labelled=True,
        )
    )


def _edges(model: Model, series: CircuitSeries, task: Task) -> list[Data]:
    """Return every edge of any circuit, those of the smallest circuits first."""
    published = published_edges(model, task) or frozenset()
    return [
        {
            "src": key[0],
            "dst": key[1],
            "slot": key[2],
            "score": series.score(key),
            "cut": series.smallest_with_edge(key).label,
            "first": series.edges[key].index(True),
            "published": key in published,
        }
        for key in sorted(series.edges, key=series.rank)
    ]


def _heads(model: Model, series: CircuitSeries) -> list[Data]:
    rows = []
    for head, inside in series.heads.items():
        place = head_index(Node.parse(head))
        roles = [r for r in model.roles.get(place, ()) if r.on in (None, series.task)]
        first = inside.index(True)
        rows.append(
            {
                "name": head,
                "first": first,
                "cut": series.cuts[first].label,
                "roles": ", ".join(dict.fromkeys(r.role.replace("_", " ") for r in roles)),
                "incoming": len(series.incoming.get(head, ())),
                "outgoing": len(series.outgoing.get(head, ())),
                "place": place,
            }
        )
    return sorted(rows, key=lambda row: (row["first"], row["place"]))


def _settings(series: CircuitSeries) -> list[tuple[str, str]]:
    spec = series.spec
    method = spec.method.plain()
    rows = [("method", str(method.pop("name")))]
    rows += [(key.replace("_", " "), str(v)) for key, v in method.items() if key not in SIZES]
    rows += [("prompts", f"{spec.prompts:,}"), ("seed", str(spec.seed)), ("precision", spec.dtype)]
    return rows if spec.experts == "layer" else [*rows, ("experts", "nodes of their own")]


def _prompts(series: CircuitSeries) -> list[tuple[str, str]]:
    details = series.cuts[0].run.details
    clean, corrupted = details.get("prompts_clean"), details.get("prompts_corrupted")
    if not isinstance(clean, list) or not isinstance(corrupted, list):
        return []
    pairs = zip(clean[:_MAX_PROMPTS], corrupted, strict=False)
    return [(str(a), str(b)) for a, b in pairs]


def _reference(series: CircuitSeries) -> Data | None:
    """Return the comparison of the circuit shown first with the published one."""
    found = series.cuts[series.first_shown].run.details.get("reference")
    if not isinstance(found, dict):
        return None
    return {key: found.get(key) for key in ("compared", "source", "total", "found", "others")}


def _warnings(series: CircuitSeries, task: Task) -> list[str]:
    found: dict[str, None] = {}
    for cut in series.cuts:
        warnings = cut.run.details.get("warnings")
        found |= dict.fromkeys(map(str, warnings if isinstance(warnings, list) else ()))
    lines = list(found)
    if task.hash is not None and task.hash != series.spec.task_hash:
        lines.append("The task has changed since these runs, and with it the prompts.")
    return lines
