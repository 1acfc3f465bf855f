"""Baselines and fresh runs written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.models.fingerprint import Fingerprint
from acdc_pipeline.regression.baseline import Baseline, graph_shape
from acdc_pipeline.regression.cell import cell_of
from acdc_pipeline.regression.finding import Finding, finding_of, measure_tolerance
from acdc_pipeline.store import RunRecord
from tests import records

TOPOLOGY = Topology(2, 2, has_mlp=False)
EDGES = ("input->a0.h0<v>", "a0.h0->a1.h0<k>", "input->a1.h0<v>", "a1.h0->logits", "input->logits")
METRICS = {"kl": 0.5, "model_accuracy": 1.0}

MODEL = Fingerprint(
    revision="1" * 20,
    config={"eps": 1e-05, "n_layers": 2},
    tokenizer="aaaa",
    tensors={"W_Q": "01", "W_K": "02", "W_V": "03"},
)


def circuit(edges: Iterable[str] = EDGES) -> Circuit:
    """A circuit whose first edge has the highest score; 32 bits hold each of them."""
    named = [Edge.parse(edge) for edge in edges]
    return Circuit.of(TOPOLOGY, named, {edge: 0.5**k for k, edge in enumerate(named)})


def finding(edges: Iterable[str] = EDGES, **metrics: float) -> Finding:
    """What a run found."""
    return Finding(circuit(edges), METRICS | metrics)


def record(edges: Iterable[str] = EDGES, *, revision: str = "", **metrics: float) -> RunRecord:
    """A fresh run; one that only differs in what it found answers the same question."""
    base = records.record()
    spec = base.spec if not revision else base.spec.model_copy(update={"model_revision": revision})
    return replace(base, spec=spec, circuit=circuit(edges), metrics=METRICS | metrics, details={})


def baseline(others: Mapping[int, Finding] | None = None, **changes: Any) -> Baseline:
    """The baseline of `record()`; the other samples of prompts found the same, unless given."""
    fresh = record()
    found = finding_of(fresh)
    samples = others or dict.fromkeys(range(1, 6), found)
    made = Baseline(
        cell=cell_of(fresh.spec, fresh.spec.model),
        reason="made by hand",
        task_hash=fresh.spec.task_hash,
        method_version=1,
        code_version="0.1.0",
        run_id=fresh.spec.run_id(),
        model=MODEL,
        environment=fresh.environment,
        graph=graph_shape(TOPOLOGY),
        edges={str(e): found.circuit.scores[e] for e in found.circuit.sorted_edges},
        metrics=dict(found.metrics),
        tolerance=measure_tolerance(found, samples),
    )
    return made.model_copy(update=changes)
