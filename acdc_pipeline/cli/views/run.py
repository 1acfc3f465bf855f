"""A run, as commands show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.method_text import method_text
from acdc_pipeline.cli.terminal.words import counted, kept_text, number, percent, share_text
from acdc_pipeline.cli.views.evaluation import measured_facts
from acdc_pipeline.specs import circuit_method
from acdc_pipeline.specs.names import COUNTED
from acdc_pipeline.store.figures import faithfulness_by_metric

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import Figures, RunRecord, RunSummary


def run_document(record: RunRecord) -> dict[str, Any]:
    """A run as JSON data: what was run, and what came of it."""
    kept, total = edge_counts(record)
    return {
        "run_id": record.spec.run_id(),
        **record.spec.plain(),
        "edges_kept": kept,
        "edges_total": total,
        "metrics": record.metrics,
        "details": record.details,
        "parity_error": record.parity_error,
        "wall_seconds": record.wall_seconds,
        "environment": record.environment,
    }


def summary_document(summary: RunSummary, figures: Figures | None = None) -> dict[str, Any]:
    """A line of a list of runs as JSON data."""
    return {
        "run_id": summary.run_id,
        **summary.spec.plain(),
        "edges_kept": summary.edges_kept,
        "edges_total": summary.edges_total,
        "metrics": dict(summary.metrics),
        "parity_error": summary.parity_error,
        "wall_seconds": summary.wall_seconds,
        **evaluation_part(figures),
    }


def evaluation_part(figures: Figures | None) -> dict[str, Any]:
    """What was measured of a circuit as JSON data; null where nothing was."""
    if figures is None:
        return {"evaluation": None}
    return {"evaluation": {**figures.document, "evaluations": list(figures.evaluations)}}


def evaluation_lines(record: RunRecord, figures: Figures | None, again: str) -> dict[str, str]:
    """What was measured of a run, for people; of one that was not measured, how to.

    Args:
        record: the run.
        figures: what was measured of it.
        again: the command that measures it.
    """
    if record.circuit is None:
        return {}
    if figures is None:
        return {"evaluation": f"– ({again})"}
    return measured_facts(figures.document)


def run_facts(record: RunRecord) -> dict[str, str]:
    """A run for people."""
    spec, metrics = record.spec, record.metrics
    lines = {
        "run": spec.run_id(),
        "task": f"{spec.task}, {counted(spec.prompts, 'prompt')}, seed {spec.seed}",
        "model": f"{spec.model} ({spec.dtype})",
        "method": method_text(spec),
    }
    if record.circuit is not None:
        lines["edges kept"] = edges_text(*edge_counts(record))
    if record.profile is not None:
        lines |= _profile_facts(record)
    if "kl" in metrics:
        scale = f"{number(metrics.get('ablated_kl'))} with every edge removed"
        lines["KL"] = f"{number(metrics['kl'])} nats to the whole model ({scale})"
        lines["faithfulness"] = faithfulness_text(record)
    if "accuracy" in metrics:
        lines |= {name.replace("_", " "): share_of_answers(metrics, name) for name in COUNTED}
    for name, value in metrics.items():
        if name in ("kl", *COUNTED) or name.startswith(("model_", "ablated_")):
            continue
        lines[name] = f"{number(value)} (whole model {number(metrics.get(f'model_{name}'))})"
    if reference := record.details.get("reference"):
        lines["reference"] = reference_text(reference, circuit_method(spec.method).ablation)
    lines["time"] = f"{record.wall_seconds:.1f} s"
    return lines


def share_of_answers(metrics: Mapping[str, float], name: str) -> str:
    """`95.3% (whole model 100.0%)`, of a metric that counts answers; `–` where it is not known."""
    if name not in metrics:
        return percent(None)
    return f"{percent(metrics[name])} (whole model {percent(metrics.get(f'model_{name}'))})"


def faithfulness_text(record: RunRecord) -> str:
    """`0.960 in kl, 0.812 in logit_diff`: the metric that was searched by comes first."""
    found = faithfulness_by_metric(record.metrics, circuit_method(record.spec.method).metric)
    return ", ".join(f"{number(value)} in {name}" for name, value in found.items()) or number(None)


def _profile_facts(record: RunRecord) -> dict[str, str]:
    roles = (record.profile or {}).get("roles", [])
    heads = {(score.layer, score.head) for score in record.heads}
    named = {role["head"] for role in roles}
    whole = {
        name.replace("_", " "): f"{percent(record.metrics.get(f'model_{name}'))} (whole model)"
        for name in COUNTED
    }
    return {
        "heads": f"{len(heads)}, {counted(len(record.heads), 'score')}",
        "roles": f"{len(roles)}, of {counted(len(named), 'head')}",
        **whole,
    }


def warning_facts(record: RunRecord) -> dict[str, str]:
    """What makes a run mean little, for people; nothing where nothing does."""
    warnings = record.details.get("warnings") or ()
    return {"warning": "\n".join(warnings)} if warnings else {}


def reference_text(reference: dict[str, Any], ablation: str) -> str:
    """`4 of 7 edges of the known circuit found, 0 others`."""
    theirs = reference["ablation"]
    text = (
        f"{reference['found']} of {reference['total']} {reference['compared']} of the known "
        f"circuit found, {reference['others']} others"
    )
    return text if theirs in (None, ablation) else f"{text} (known under {theirs} ablation)"


def edge_counts(record: RunRecord) -> tuple[int | None, int | None]:
    """Edges of the circuit and of the whole graph; None where a run finds no circuit."""
    if record.circuit is None:
        return None, None
    return len(record.circuit), record.circuit.topology.n_edges


def edges_text(kept: int | None, total: int | None) -> str:
    """`41 of 1281 (3.2%)`."""
    return "–" if kept is None else f"{kept_text(kept, total)} ({share_text(kept, total)})"


def strongest(circuit: Circuit, count: int) -> list[dict[str, str]]:
    """The edges of the highest scores, best first, as rows of `edge` and `score`."""
    return [
        {"edge": str(edge), "score": number(circuit.scores.get(edge))}
        for edge in circuit.strongest(count)
    ]
