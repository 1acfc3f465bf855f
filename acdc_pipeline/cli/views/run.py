"""A run: its name in a line of text, its facts, its JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.text import format_kept, format_kept_share, format_pairs
from acdc_pipeline.cli.views.consensus import consensus_facts
from acdc_pipeline.text import (
    NONE,
    format_number,
    format_percent,
    list_first,
    pluralize,
    without_rounding,
)

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.specs import Method, ProfileMethod, RunSpec
    from acdc_pipeline.store import RunRecord

MAX_EXPERTS_NAMED = 12
_PLAIN_WORDS = frozenset(("order", "difference", "rank"))


def run_name(spec: RunSpec) -> str:
    """`ioi in zoo:attn-4l at 0.01` or `… by eap 5%`; with positions if any, the seed unless 0."""
    from acdc_pipeline.specs import method_label

    seed = f", seed {spec.seed}" if spec.seed else ""
    how = method_label(spec.method)
    how = f"at {how.removeprefix('acdc ')}" if spec.method.name == "acdc" else f"by {how}"
    positions = "" if spec.positions == "none" else f", positions {spec.positions}"
    return f"{spec.task} in {spec.model} {how}{positions}{seed}"


def method_text(method: Method, profile: Mapping[str, Any] | None = None) -> str:
    """The method with all its parameters; with the `profile` of a run, the period that it used.

    `acdc, threshold 0.01, kl, corrupted ablation, reverse-heads, signed`
    """
    from acdc_pipeline.specs import ProfileMethod, SearchMethod, TextMethod, size_label

    if isinstance(method, ProfileMethod):
        return _profile_text(method, profile or {})
    if isinstance(method, TextMethod):
        tokens = pluralize(method.tokens, "token")
        return f"heads on ordinary text, at most {tokens} in contexts of {method.context}"
    size = size_label(method)
    if isinstance(method, SearchMethod):
        size = f"threshold {size}"
    elif size.endswith("%"):
        size = f"{size} of the edges"
    parts = [method.name, size, method.metric, f"{method.ablation} ablation"]
    shown = {"name", "threshold", "share", "edges", "metric", "ablation"}
    parts += [
        parameter_text(name, value)
        for name, value in method.plain().items()
        if name not in shown and value is not None
    ]
    return ", ".join(parts)


def parameter_text(name: str, value: Any) -> str:
    """`steps 5`, `combine mean`; the value alone where it says what it is about: `magnitude`."""
    if name in _PLAIN_WORDS:
        return str(value)
    return f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, 'g')}"


def _profile_text(method: ProfileMethod, profile: Mapping[str, Any]) -> str:
    used = profile.get("period", method.period)
    period = "no repeated random tokens" if used is None else f"period {used}"
    parts = [
        "profile of heads",
        period if used == method.period else f"{period} (at most {method.period})",
        pluralize(method.sequences, "sequence"),
        pluralize(method.tokens, "token"),
    ]
    if method.text is not None:
        parts.append(f"a text of {pluralize(len(method.text), 'character')}")
    return ", ".join(parts)


def run_facts(record: RunRecord) -> dict[str, str]:
    """Describe a run and its results."""
    from acdc_pipeline.specs import circuit_method
    from acdc_pipeline.specs.names import COUNTING_METRICS

    spec, metrics = record.spec, record.metrics
    facts = {
        "run": spec.run_id(),
        "task": f"{spec.task}, {pluralize(spec.prompts, 'prompt')}, seed {spec.seed}",
        "model": f"{spec.model} ({spec.dtype}{', experts as nodes' * (spec.experts == 'nodes')})",
        "method": method_text(spec.method, record.profile),
    }
    if record.circuit is not None and record.circuit.topology.spans:
        facts["positions"] = f"{spec.positions}: {', '.join(record.circuit.topology.spans)}"
        pairs = len(record.circuit.collapse())
        facts["components"] = f"{pluralize(pairs, 'edge')} without positions"
    if record.circuit is not None:
        kept, total = edge_counts(record)
        facts["edges kept"] = (
            f"{format_kept(kept, total)} ({format_kept_share(kept, total)})"
            f"{_unreachable_text(spec.method, record.circuit)}"
        )
        facts["pairs"] = format_pairs(record.circuit.n_pairs, record.circuit.n_pairs_total)
        if record.circuit.topology.experts:
            facts["experts"] = _experts_text(record.circuit)
    if record.consensus is not None:
        facts |= consensus_facts(record.consensus, record.details.get("consensus", {}))
    if record.profile is not None:
        facts |= _profile_facts(record)
    if "kl" in metrics:
        scale = f"{format_number(metrics.get('ablated_kl'))} with every edge removed"
        facts["KL"] = (
            f"{format_number(without_rounding(metrics['kl']))} nats to the whole model ({scale})"
        )
        facts["faithfulness"] = _faithfulness_text(record)
    if "accuracy" in metrics:
        facts |= {
            name.replace("_", " "): _percent_of_answers(metrics, name) for name in COUNTING_METRICS
        }
    for name, value in metrics.items():
        if name in ("kl", *COUNTING_METRICS) or name.startswith(("model_", "ablated_")):
            continue
        whole = format_number(metrics.get(f"model_{name}"))
        facts[name] = f"{format_number(value)} (whole model {whole})"
    if reference := record.details.get("reference"):
        facts["reference"] = _reference_text(reference, circuit_method(spec.method).ablation)
    facts["time"] = f"{record.wall_seconds:.1f} s"
    return facts


def _unreachable_text(method: Method, circuit: Circuit) -> str:
    """Return a note on the edges on no path, if the requested size exceeds the number of others.

    Empty otherwise. Only graphs with spans have such edges.
    """
    from acdc_pipeline.graph.flow import flow_of
    from acdc_pipeline.specs import ScoredMethod

    topology = circuit.topology
    if not topology.spans or not isinstance(method, ScoredMethod):
        return ""
    size = method.size(topology.n_edges)
    if size <= len(circuit) or size <= (most := flow_of(topology).n_live):
        return ""
    return f"; {pluralize(topology.n_edges - most, 'edge')} of the graph can reach no answer"


def run_document(record: RunRecord) -> dict[str, Any]:
    """Return a run and its results as JSON data."""
    kept, total = edge_counts(record)
    circuit = record.circuit
    return {
        "run_id": record.spec.run_id(),
        **record.spec.plain(),
        "edges_kept": kept,
        "edges_total": total,
        "pairs_kept": None if circuit is None else circuit.n_pairs,
        "pairs_total": None if circuit is None else circuit.n_pairs_total,
        "metrics": record.metrics,
        "details": record.details,
        **({} if record.consensus is None else {"consensus": record.consensus.as_dict()}),
        "parity_error": record.parity_error,
        "wall_seconds": record.wall_seconds,
        "environment": record.environment,
    }


def edge_counts(record: RunRecord) -> tuple[int | None, int | None]:
    """Return the edges of the circuit and of the whole graph; None if the run has no circuit."""
    if record.circuit is None:
        return None, None
    return len(record.circuit), record.circuit.topology.n_edges


def _experts_text(circuit: Circuit) -> str:
    """`m0.e1, m1.e0 and 3 more`: the experts on a path from input to logits."""
    live = {node for edge in circuit.live_edges for node in (edge.src, edge.dst)}
    names = [str(n) for n in circuit.topology.nodes if n in live and n.kind == "expert"]
    return list_first(names, MAX_EXPERTS_NAMED) or "none"


def _percent_of_answers(metrics: Mapping[str, float], name: str) -> str:
    """`95.3% (whole model 100.0%)`, of a metric that counts answers."""
    if name not in metrics:
        return NONE
    whole = format_percent(metrics.get(f"model_{name}"))
    return f"{format_percent(metrics[name])} (whole model {whole})"


def _faithfulness_text(record: RunRecord) -> str:
    """`0.960 in kl, 0.812 in logit_diff`, the metric of the search first."""
    from acdc_pipeline.specs import circuit_method
    from acdc_pipeline.store.figures import faithfulness_by_metric

    found = faithfulness_by_metric(record.metrics, circuit_method(record.spec.method).metric)
    return ", ".join(f"{format_number(value)} in {name}" for name, value in found.items()) or NONE


def _profile_facts(record: RunRecord) -> dict[str, str]:
    from acdc_pipeline.specs.names import COUNTING_METRICS

    roles = (record.profile or {}).get("roles", [])
    heads = {(score.layer, score.head) for score in record.heads}
    with_role = {role["head"] for role in roles}
    whole = {
        name.replace("_", " "): f"{format_percent(record.metrics.get(f'model_{name}'))} "
        "(whole model)"
        for name in COUNTING_METRICS
    }
    return {
        "heads": f"{len(heads)}, {pluralize(len(record.heads), 'score')}",
        "roles": f"{len(roles)}, of {pluralize(len(with_role), 'head')}",
        **whole,
    }


def _reference_text(reference: dict[str, Any], ablation: str) -> str:
    """`4 of 7 edges of the known circuit found, 0 others`."""
    known_under = reference["ablation"]
    text = (
        f"{reference['found']} of {reference['total']} {reference['compared']} of the known "
        f"circuit found, {reference['others']} others"
    )
    if "by_position" in reference:
        text += ", by position" if reference["by_position"] else ", compared without positions"
    return (
        text if known_under in (None, ablation) else f"{text} (known under {known_under} ablation)"
    )
