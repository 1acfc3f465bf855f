"""What is known of a circuit, for people and as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.tables import Column
from acdc_pipeline.cli.words import counted, number, percent

if TYPE_CHECKING:
    from acdc_pipeline.execution.evaluate import Evaluation

STABLE = 0.8
"""Mean pairwise Jaccard from which a circuit counts as stable."""

SUPERFLUOUS = 0.01
"""Of what losing everything costs: a part that matters less is superfluous."""

ROUNDING = 1e-8
"""In nats: what a divergence may be off by; of two equal distributions it is this and not 0."""

CURVE_COLUMNS = (
    Column("of the graph", "number"),
    Column("edges", "number"),
    Column("faithfulness", "number"),
    Column("KL", "number"),
)


def evaluation_document(found: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON data."""
    return {
        "edges_kept": len(found.circuit),
        "edges_total": found.circuit.topology.n_edges,
        "metric": found.scale.metric,
        "model": found.scale.whole,
        "ablated": found.scale.nothing,
        "value": found.value,
        "faithfulness": found.faithfulness,
        "kl": found.kl,
        "curve": [asdict(point) for point in found.curve],
        "cpr": found.cpr,
        "cmd": found.cmd,
        "null": {"faithfulness": list(found.null), "percentile": found.percentile},
        "completeness": [asdict(knockout) for knockout in found.knockouts],
        "worst_knockouts": [asdict(knockout) for knockout in found.worst],
        "minimality": [asdict(need) for need in found.needs],
        "auc": found.auc,
        "causal_scrubbing": None if found.scrubbing is None else asdict(found.scrubbing),
        "not_scrubbed": found.unscrubbed,
        "fresh_prompts": found.fresh,
        "stability": None if found.stability is None else asdict(found.stability),
        "transfer": None if found.transfer is None else asdict(found.transfer),
    }


def evaluation_facts(found: Evaluation) -> dict[str, str]:
    """An evaluation for people."""
    scale = found.scale
    lines = {
        "edges": f"{len(found.circuit)} of {found.circuit.topology.n_edges}",
        "faithfulness": f"{number(found.faithfulness)} ({scale.metric} {number(found.value)}; "
        f"model {number(scale.whole)}, nothing {number(scale.nothing)})",
        "KL": f"{number(found.kl)} nats to the whole model",
    }
    if found.percentile is not None:
        middle = sorted(found.null)[len(found.null) // 2]
        lines["null"] = (
            f"above {percent(found.percentile)} of {counted(len(found.null), 'random circuit')} "
            f"of its size (their median {number(middle)})"
        )
    if found.cpr is not None:
        lines["CPR"] = f"{number(found.cpr)} (area under the curve; higher is better)"
        lines["CMD"] = f"{number(found.cmd)} (area between the curve and 1; lower is better)"
    lines |= _parts(found)
    if found.auc is not None:
        lines["AUC"] = f"{number(found.auc)} against the known circuit, pessimistic"
    if (scrubbed := found.scrubbing) is not None:
        lines["causal scrubbing"] = (
            f"{percent(scrubbed.recovered)} of {scrubbed.metric} recovered "
            f"(95% interval {percent(scrubbed.low)} to {percent(scrubbed.high)}; "
            f"{percent(scrubbed.exchangeable)} of prompts exchanged inside too)"
        )
    else:
        lines["causal scrubbing"] = f"not done: {found.unscrubbed}"
    if found.fresh is not None:
        lines["fresh prompts"] = f"faithfulness {number(found.fresh)} on prompts of another seed"
    if (stable := found.stability) is not None:
        word = "stable" if stable.jaccard >= STABLE else "not stable"
        lines["stability"] = (
            f"Jaccard {number(stable.jaccard)} over {counted(len(stable.sizes), 'resample')} of "
            f"the prompts: {word} (from {STABLE})"
        )
    if (moved := found.transfer) is not None:
        lines["transfer"] = (
            f"found on every second of the {moved.by}: faithfulness {number(moved.seen)} there, "
            f"{number(moved.unseen)} on the others"
        )
    return lines


def curve_rows(found: Evaluation) -> list[dict[str, str]]:
    """The curve as rows of a table."""
    return [
        {
            "of the graph": f"{point.fraction * 100:g}%",
            "edges": str(point.edges),
            "faithfulness": number(point.faithfulness),
            "KL": number(0.0 if abs(point.kl) < ROUNDING else point.kl),
        }
        for point in found.curve
    ]


def _parts(found: Evaluation) -> dict[str, str]:
    lines: dict[str, str] = {}
    if found.knockouts:
        worst = max(found.knockouts, key=lambda knockout: knockout.incompleteness)
        mean = sum(k.incompleteness for k in found.knockouts) / len(found.knockouts)
        without = _named(worst.parts)
        lines["completeness"] = (
            f"circuit and model differ by {percent(mean)} on average with the same nodes removed, "
            f"at most {percent(worst.incompleteness)} ({without})"
        )
    if found.worst:
        worst = max(found.worst, key=lambda knockout: knockout.incompleteness)
        lines["worst knockout"] = (
            f"{percent(worst.incompleteness)} ({_named(worst.parts)}), the worst that a greedy "
            f"search finds from {counted(len(found.worst), 'start')}"
        )
    if found.needs:
        idle = [need.part for need in found.needs if need.score < SUPERFLUOUS]
        lines["minimality"] = f"{len(found.needs) - len(idle)} of {len(found.needs)} nodes matter"
        if idle:
            lines["minimality"] += f"; superfluous: {_named(idle)}"
    return lines


def _named(parts: tuple[str, ...] | list[str]) -> str:
    if not parts:
        return "nothing removed"
    more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
    return ", ".join(parts[:5]) + more
