"""The evaluation of a circuit: described from its stored figures, and its curve drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from statistics import fmean, median
from typing import Any

from acdc_pipeline.cli.terminal.tables import Column
from acdc_pipeline.cli.terminal.text import format_pairs
from acdc_pipeline.specs.names import COUNTING_METRICS
from acdc_pipeline.store.figures import SUPERFLUOUS, is_only_of_its_size
from acdc_pipeline.text import (
    NONE,
    format_estimate,
    format_number,
    format_percent,
    list_first,
    pluralize,
    without_rounding,
)

Facts = Mapping[str, Any]

STABLE = 0.8
"""Least mean pairwise Jaccard index of a stable circuit."""

ROUNDING = 1e-8
"""Rounding error of a divergence in nats: equal distributions give this, not exactly 0."""

MAX_NODES_NAMED = 5

_incompleteness = itemgetter("incompleteness")

CURVE_COLUMNS = (
    Column("of the graph", "number"),
    Column("edges", "number"),
    Column("faithfulness", "number"),
    Column("95% interval", "number", rank=1),
    Column("KL", "number"),
)


def evaluation_facts(figures: Facts) -> dict[str, str]:
    """Describe an evaluation: the circuit in every metric, and every other measurement.

    `figures` are as in `StoredEvaluation.figures`; what was not measured is None, and has no line.
    """
    edges = {"edges": f"{figures['edges_kept']} of {figures['edges_total']}"}
    if figures.get("pairs_kept") is not None:
        edges["pairs"] = format_pairs(figures["pairs_kept"], figures["pairs_total"])
    lines = edges | _metric_facts(figures) | measured_facts(figures)
    if figures.get("faithfulness_interval") is not None:
        lines["intervals"] = "in parentheses: 95%, bootstrap over the prompts"
    return lines


def mask_facts(figures: Facts) -> dict[str, str]:
    """Describe the neuron masks of a circuit, `mask_figures`; nothing without any."""
    if not (masks := figures.get("neurons")):
        return {}
    nodes = [f"{node} {kept}" for node, kept in masks["kept"].items()]
    return {
        "neurons": f"of {masks['d_model']} dimensions {list_first(nodes, MAX_NODES_NAMED)} in the "
        f"circuit; by them {format_number(masks['weighted_edges'])} edges",
        "not measured": "curve, null and all else but the circuit's own metrics",
    }


def measured_facts(figures: Facts) -> dict[str, str]:
    """Describe what an evaluation measured besides the circuit's metrics."""
    lines: dict[str, str] = {}
    kept = figures.get("edges_kept")
    if is_only_of_its_size(kept, figures.get("edges_total")):
        size = "all edges" if kept else "no edges"
        lines["not measured"] = f"null (a circuit of {size} is the only one of its size)"
        if figures.get("cmd") is None:
            lines["not measured"] += ", CMD and CPR (the curve needs a circuit of another size)"
    elif (null := figures.get("null")) is not None:
        lines["null"] = "\n".join(
            f"in {name} above {format_percent(one['percentile'])} of "
            f"{pluralize(len(values), 'random circuit')} of equal size "
            f"(median {format_number(median(values))})"
            for name, one in null["metrics"].items()
            if (values := one["faithfulness"])
        )
    if figures.get("cmd") is not None:
        cmd = format_estimate(figures["cmd"], figures.get("cmd_interval"))
        by = f"in {figures['metric']}"
        lines["CMD"] = f"{cmd} {by}: area between the curve and 1; lower is better"
        cpr = format_estimate(figures["cpr"], figures.get("cpr_interval"))
        lines["CPR"] = (
            f"{cpr} {by}: area under the curve; higher is better, but values above 1 raise it"
        )
    if figures.get("not_exchanged") is not None:
        lines["ablations"] = f"neither resample nor adversarial: {figures['not_exchanged']}"
    elif lower := (figures.get("ablations") or {}).get("adversarial"):
        worst = lower["metrics"][figures["metric"]]
        lines["adversarial"] = (
            f"faithfulness {format_estimate(worst['faithfulness'], worst.get('interval'))} under "
            "the worst donors that a search found"
        )
    lines |= _knockout_facts(figures) | _resampling_facts(figures)
    if figures.get("auc") is not None:
        lines["AUC"] = f"{format_number(figures['auc'])} against the known circuit, pessimistic"
    return lines


def curve_rows(figures: Facts) -> list[dict[str, str]]:
    """Return the curve as rows of a table, with a dash where no circuit is that small."""
    return [
        {
            "of the graph": f"{point['fraction'] * 100:g}%",
            "edges": NONE if point["edges"] is None else str(point["edges"]),
            "faithfulness": format_number(point["faithfulness"]),
            **_interval_cell(figures, point),
            "KL": format_number(
                0.0
                if point["kl"] is not None and abs(point["kl"]) < ROUNDING
                else without_rounding(point["kl"])
            ),
        }
        for point in figures.get("curve") or ()
    ]


def ablation_table(figures: Facts) -> tuple[list[Column], list[dict[str, str]]]:
    """Return the circuit under each ablation: columns, and a row for each; no rows without any."""
    metrics = dict.fromkeys((figures["metric"], "kl", figures["task_metric"]))
    found = figures.get("ablations") or {}
    rows = [
        {
            "ablation": name,
            **{
                f"in {metric}": format_estimate(measured["faithfulness"], measured.get("interval"))
                for metric in metrics
                if (measured := one["metrics"].get(metric)) is not None
            },
            "circuits": str(one["forwards"]),
        }
        for name, one in found.items()
    ]
    columns = [Column(f"in {metric}", "number", rank=at) for at, metric in enumerate(metrics)]
    return [Column("ablation"), *columns, Column("circuits", "number", rank=4)], rows


def _interval_cell(figures: Facts, point: Facts) -> dict[str, str]:
    """The interval of a point; the table lacks the column where the curve has none."""
    if figures.get("cmd_interval") is None:
        return {}
    interval = point.get("interval")
    return {"95% interval": NONE if interval is None else " to ".join(map(format_number, interval))}


def _metric_facts(figures: Facts) -> dict[str, str]:
    """Describe the circuit in every metric, beside the whole model and no circuit at all."""
    metrics = figures["metrics"]
    first = (figures["metric"], "kl", figures["task_metric"])
    faithful = {
        name: format_estimate(metrics[name]["faithfulness"], metrics[name].get("interval"))
        for name in dict.fromkeys((*first, *metrics))
        if name in metrics and name not in COUNTING_METRICS
    }
    scores = (f"{value} in {name}" for name, value in faithful.items())
    lines = {"faithfulness": ", ".join(scores)}
    for name in faithful:
        one = metrics[name]
        if name == "kl":
            states = ("circuit", "model", "ablated")
            one = {state: without_rounding(one[state]) for state in states}
        whole = "" if name == "kl" else f"model {format_number(one['model'])}, "
        lines["KL" if name == "kl" else name] = (
            f"{format_number(one['circuit'])} ({whole}no edges {format_number(one['ablated'])})"
        )
    for name in COUNTING_METRICS:
        text = NONE
        if one := metrics.get(name):
            circuit, model, ablated = (
                format_percent(one[state]) for state in ("circuit", "model", "ablated")
            )
            text = f"{circuit} (model {model}, no edges {ablated})"
        lines[name.replace("_", " ")] = text
    return lines


def _knockout_facts(figures: Facts) -> dict[str, str]:
    """Describe what removing nodes changes."""
    lines: dict[str, str] = {}
    if knockouts := figures.get("completeness"):
        worst = max(knockouts, key=_incompleteness)
        lines["completeness"] = (
            "circuit and model differ by "
            f"{format_percent(fmean(map(_incompleteness, knockouts)))} on average with the same "
            f"nodes removed, at most {_worst_text(worst)}"
        )
    if found := figures.get("worst_knockouts"):
        worst = max(found, key=_incompleteness)
        lines["worst knockout"] = (
            f"{_worst_text(worst)}, the worst that a greedy search finds from "
            f"{pluralize(len(found), 'start')}"
        )
    if needs := figures.get("minimality"):
        idle = [need["part"] for need in needs if need["score"] < SUPERFLUOUS]
        lines["minimality"] = f"{len(needs) - len(idle)} of {len(needs)} nodes matter"
        if idle:
            lines["minimality"] += f"; superfluous: {_named(idle)}"
    return lines


def _resampling_facts(figures: Facts) -> dict[str, str]:
    """Describe what other prompts change."""
    lines: dict[str, str] = {}
    if (scrubbed := figures.get("causal_scrubbing")) is not None:
        lines["causal scrubbing"] = (
            f"{format_percent(scrubbed['recovered'])} of {scrubbed['metric']} recovered "
            f"(95% interval {format_percent(scrubbed['low'])} to "
            f"{format_percent(scrubbed['high'])}; "
            f"{format_percent(scrubbed['exchangeable'])} of prompts exchanged inside too)"
        )
    elif figures.get("not_scrubbed") is not None:
        lines["causal scrubbing"] = f"not measured: {figures['not_scrubbed']}"
    if (fresh := figures.get("fresh_prompts")) is not None:
        lines["fresh prompts"] = f"faithfulness {format_number(fresh)} on prompts of another seed"
    if (stable := figures.get("stability")) is not None:
        word = "stable" if stable["jaccard"] >= STABLE else "not stable"
        lines["stability"] = (
            f"Jaccard {format_number(stable['jaccard'])} over "
            f"{pluralize(len(stable['sizes']), 'resample')} of the prompts: {word} (from {STABLE})"
        )
    if (moved := figures.get("transfer")) is not None:
        lines["transfer"] = (
            f"found on every second of the {moved['by']}: faithfulness "
            f"{format_number(moved['seen'])} there, {format_number(moved['unseen'])} on the others"
        )
    return lines


def _worst_text(knockout: Facts) -> str:
    return f"{format_percent(_incompleteness(knockout))} ({_named(knockout['parts'])})"


def _named(parts: Sequence[str]) -> str:
    return list_first(parts, MAX_NODES_NAMED) if parts else "nothing removed"
