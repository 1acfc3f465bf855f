"""The page of a task in a model: its circuits, drawn, measured and listed edge by edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from markupsafe import Markup

from acdc_pipeline.graph import Node
from acdc_pipeline.graph.consensus import Role
from acdc_pipeline.plotting.axes import log_axis, percent_axis
from acdc_pipeline.plotting.circuit_series import SeriesFigure, draw_series
from acdc_pipeline.plotting.scatter import Mark, draw_scatter
from acdc_pipeline.specs.names import COMPARED
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.circuits import (
    SIZES,
    Agreement,
    CircuitSeries,
    Cut,
    find_agreement,
    find_weakness,
    other_faithfulness,
    over_components,
    parse_edge,
    split_positions,
    without_positions,
)
from acdc_pipeline.wiki.model_data import evaluation_data, pick
from acdc_pipeline.wiki.models import Model, head_index
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.pages.consensus import alternatives_outside, drawn_edges, role_of
from acdc_pipeline.wiki.site import Section
from acdc_pipeline.wiki.tasks import Task, published_edges
from acdc_pipeline.wiki.text import show_line, show_name

MAX_ROWS = 1500
"""Number of edges listed on the page; the Parquet file contains all."""

_MAX_PROMPTS = 3
METRIC_NAMES = {
    "kl": "KL divergence",
    "nll": "negative log-likelihood",
    "logit_diff": "the logit difference",
    "prob_diff": "the probability difference",
}
_UNITS = {
    "kl": "nats",
    "nll": "nats",
    "logit_diff": "of the logit difference",
    "prob_diff": "of the probability difference",
}
_MEASURED = ("acdc", "eap-ig-acdc", "exact")
"""Methods whose score is what removing an edge did to the metric."""

_ESTIMATED = ("eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted")
"""Methods whose score estimates it."""
_METRICS = ("kl", "accuracy", "model_accuracy", "forced_choice", "model_forced_choice")


class CircuitPage(SectionPage[tuple[CircuitSeries, ...]]):
    """The pages of a task in a model: its circuits over components, and those by position.

    A task with circuits of one kind alone has one page, whose path does not depend on the kind.
    """

    template = "circuit.html"

    def paths(self) -> Iterator[tuple[str, tuple[CircuitSeries, ...]]]:
        for found in self.section.model.circuits.values():
            for shown in filter(None, split_positions(found)):
                yield circuit_path(self.section, shown[0]), shown

    def data(self, shown: tuple[CircuitSeries, ...]) -> Data:
        series, *others = shown
        model, task = self.section.model, self.section.tasks[series.task]
        trail: list[tuple[str, str | None]] = [
            ("Tasks", "t/index.html"),
            (task.title, f"t/{task.slug}/index.html"),
        ]
        title, path = f"{task.title} in {model.title}", circuit_path(self.section, series)
        first, last = model.circuits[series.task][0], model.circuits[series.task][-1]
        counterpart = last if series is first else first
        if series is first:
            trail.append((model.title, None))
        else:
            title += ", by position"
            trail += [(model.title, circuit_path(self.section, first)), ("by position", None)]
        depth = path.count("/")
        label = f"{show_name(task.title)} in {show_name(model.title)}"
        figure = _draw(model, series, label, "../" * depth)
        plain = None
        if series.by_span:
            plain = without_positions(series, split_positions(model.circuits[series.task])[0])
        agreed = find_agreement(series, others)
        edges = _edges(model, series, task, plain[0] if plain else None, agreed)
        cuts = [cut_data(series, cut) for cut in series.cuts]
        return {
            **frame(depth, title, *trail),
            "model": model,
            "task": task,
            "prompts": _prompts(series),
            "cuts": cuts,
            "by_span": series.by_span,
            "spans": series.shape.spans,
            "counterpart": None
            if counterpart.by_span == series.by_span
            else circuit_path(self.section, counterpart),
            "plain": None if plain is None else compare_positions(series, *plain),
            "other_metric": next((c["other_metric"] for c in cuts if c["other_metric"]), None),
            "is_evaluated": any(cut["evaluation"] for cut in cuts),
            "ablations": _ablations(cuts),
            "has_intervals": any("cmd_interval" in (cut["evaluation"] or {}) for cut in cuts),
            "has_thresholds": series.has_thresholds,
            "has_experts": bool(series.shape.experts),
            "shown": series.first_shown,
            "figure": figure,
            "cost": removal_cost(series),
            "curve": _plot_faithfulness(series, label),
            "settings": _settings(series),
            "heads": _heads(model, series),
            "edges": edges[:MAX_ROWS],
            "edges_left_out": max(0, len(edges) - MAX_ROWS),
            "has_published": any(row["published"] for row in edges),
            "consensus": None if agreed is None else _consensus(agreed),
            "draws_shares": bool(series.searches),
            "reference": _reference(series),
            "warnings": circuit_warnings(series, task),
            "keeps": None
            if find_weakness(series) is None
            else describe_faithfulness(series.cuts[series.first_shown], "the model"),
            "others": [
                {
                    "settings": ", ".join(f"{key} {value}" for key, value in _settings(other)),
                    "cuts": [cut_data(other, cut) for cut in other.cuts],
                }
                for other in others
            ],
        }


def _ablations(cuts: Sequence[Data]) -> list[str]:
    """The ablations under which any of the circuits was measured, in the order of evaluations."""
    known = {name for cut in cuts for name in (cut["evaluation"] or {}).get("ablations", ())}
    return [name for name in COMPARED if name in known]


def circuit_path(section: Section, series: CircuitSeries) -> str:
    """Return the path of the page with a series, below the root of the site."""
    model = section.model
    is_second = series.by_span and not model.circuits[series.task][0].by_span
    folder = f"t/{section.tasks[series.task].slug}{'/spans' if is_second else ''}"
    return f"{folder}/{model.slug}.html"


def cut_data(series: CircuitSeries, cut: Cut) -> Data:
    """Return size and quality of one circuit of a series."""
    other_metric, faithfulness = other_faithfulness(cut.run) or (None, None)
    return {
        **pick(cut, "share", "faithfulness"),
        "label": series.label(cut),
        "is_threshold": series.has_thresholds,
        "edges": len(cut.edges),
        "components": len(cut.components),
        "bar": round(100 * min(1.0, max(0.0, cut.faithfulness or 0.0)), 1),
        "other_metric": other_metric,
        "other_faithfulness": faithfulness,
        "evaluation": evaluation_data(cut.run.figures),
        **{metric: cut.run.metrics.get(metric) for metric in _METRICS},
        "run": cut.run.run_id,
    }


def describe_faithfulness(cut: Cut, whole: str = "it") -> str:
    """Return `98 % of what it does by KL divergence, 80 % by the logit difference`.

    Args:
        whole: what the model is called in it.
    """
    metric = str(cut.run.spec.method.plain().get("metric", "kl"))
    shown = [(metric, cut.faithfulness), *filter(None, [other_faithfulness(cut.run)])]
    shares = [(text.format_percent(share), METRIC_NAMES.get(name, name)) for name, share in shown]
    (first, by), *others = shares
    return ", ".join([f"{first} of what {whole} does by {by}", *(f"{s} by {n}" for s, n in others)])


def removal_cost(series: CircuitSeries) -> Data | None:
    """Return the unit of what removing an edge costs, where scores are measured or estimated costs.

    `verb` replaces "costs" where a score has no sign or is an estimate.
    """
    method = series.spec.method.plain()
    unit = _UNITS.get(str(method.get("metric")))
    # over several rounds, scores are scaled
    if unit is None or series.searches or method.get("rounds", 1) > 1:
        return None
    if method["name"] in _MEASURED:
        return {"unit": unit, "verb": "changes it by" if method.get("difference") == "abs" else ""}
    return {"unit": unit, "verb": "costs an estimated"} if method["name"] in _ESTIMATED else None


def _draw(model: Model, series: CircuitSeries, title: str, root: str) -> SeriesFigure:
    shown = series.cuts[series.first_shown]
    label = (
        f"{title}: {text.pluralize(len(shown.edges), 'edge')} of {series.shape.n_edges:,}, "
        f"{series.describe(shown)}. Every edge is in the table below."
    )

    def link(node: Node) -> str | None:
        return f"{root}m/{model.slug}/{node}.html" if node.kind == "head" else None

    return draw_series(
        series.shape,
        drawn_edges(series),
        shown=series.first_shown,
        label=show_line(label),
        link=link,
    )


def _plot_faithfulness(series: CircuitSeries, title: str) -> Markup | None:
    """Plot faithfulness against the number of edges; None where fewer than two were measured."""
    points = [
        Mark(
            max(1.0, float(len(cut.edges))),
            cut.faithfulness,
            show_line(f"τ {series.label(cut)}" if series.has_thresholds else cut.label),
            css=f"cut-{index}",
        )
        for index, cut in enumerate(series.cuts)
        if cut.faithfulness is not None
    ]
    if len(points) < 2:
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


def _consensus(agreed: Agreement) -> Data:
    """Return what the searches of a consensus agree on."""
    run = agreed.cut.run
    details = run.details.get("consensus")
    found = details if isinstance(details, dict) else {}
    groups = found.get("or_groups")
    return {
        "searches": agreed.series.searches,
        "circuit": f"τ = {agreed.cut.label}",
        "has_roles": run.consensus is not None,
        "run": run.run_id,
        "roles": [
            (role, found[role]) for role in get_args(Role) if isinstance(found.get(role), int)
        ],
        "groups": list(map(str, groups)) if isinstance(groups, list) else [],
    }


def _edges(
    model: Model,
    series: CircuitSeries,
    task: Task,
    plain: CircuitSeries | None,
    agreed: Agreement | None,
) -> list[Data]:
    """Return every edge of any circuit, those of the smallest circuits first, then alternatives.

    `plain` is the series without positions with which each edge is compared.
    """
    published = published_edges(model, task, series.shape) or frozenset()
    roles = None if agreed is None else agreed.cut.run.consensus
    shares = roles if series.searches else None
    return [
        {
            "src": key[0],
            "dst": key[1],
            "slot": key[2],
            "span": key[3] if series.by_span else None,
            "plain": plain.smallest_with_edge(key[:3]).label
            if plain is not None and key[:3] in plain.edges
            else None,
            "score": shares.share(parse_edge(key))
            if shares and key not in series.edges
            else series.score(key),
            "cut": series.smallest_with_edge(key).label if key in series.edges else "–",
            "first": series.edges[key].index(True) if key in series.edges else series.first_shown,
            "published": key in published or over_components(key) in published,
            "searches": None if agreed is None else agreed.searches_with(key),
            "role": None if roles is None else role_of(roles, key),
        }
        for key in [*sorted(series.edges, key=series.rank), *alternatives_outside(series)]
    ]


def compare_positions(series: CircuitSeries, plain: CircuitSeries, alike: bool) -> Data:
    """Compare circuits by span with those without positions.

    Circuits of equal threshold, or else the two that their pages show first. Edges are compared
    over components: one counts once, in however many spans.

    Args:
        alike: whether the searches differ in positions only.
    """
    by_threshold = {cut.threshold: cut for cut in plain.cuts if cut.threshold is not None}
    pairs = [
        (cut, by_threshold[cut.threshold]) for cut in series.cuts if cut.threshold in by_threshold
    ] or [(series.cuts[series.first_shown], plain.cuts[plain.first_shown])]
    return {
        "rows": [
            {
                "labels": list(dict.fromkeys((series.describe(cut), plain.describe(other)))),
                "spans": len(cut.edges),
                "both": len(cut.components & other.components),
                "only_spans": len(cut.components - other.components),
                "only_plain": len(other.components - cut.components),
                "faithfulness": (cut.faithfulness, other.faithfulness),
            }
            for cut, other in pairs
        ],
        "settings": None if alike else ", ".join(f"{key} {v}" for key, v in _settings(plain)),
    }


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
    rows += [
        (key.replace("_", " "), str(v))
        for key, v in method.items()
        if key not in SIZES and v is not None
    ]
    rows += [("prompts", f"{spec.prompts:,}"), ("seed", str(spec.seed)), ("precision", spec.dtype)]
    if series.by_span:
        rows.append(("positions", spec.positions))
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
    keys = ("compared", "source", "total", "found", "others", "by_position")
    return {key: found.get(key) for key in keys}


def circuit_warnings(series: CircuitSeries, task: Task) -> list[str]:
    """Return the warnings of the runs of a series, and whether the task has changed since."""
    found: dict[str, None] = {}
    for cut in series.cuts:
        warnings = cut.run.details.get("warnings")
        found |= dict.fromkeys(map(str, warnings if isinstance(warnings, list) else ()))
    lines = list(found)
    if task.hash is not None and task.hash != series.spec.task_hash:
        lines.append("The task has changed since these runs, and with it the prompts.")
    return lines
