"""Made-up runs with positions, beside those of `tests.wiki_store`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import find_task
from acdc_pipeline.store import RunRecord
from tests import wiki_store
from tests.wiki_store import Shape

SPANS = ("S1", "S2", "rest", "END")


def with_spans(topology: Topology) -> Topology:
    """The graph with four spans, each of which sees those before it."""
    sees = tuple(" ".join(SPANS[: index + 1]) for index in range(len(SPANS)))
    return replace(topology, spans=SPANS, answer_spans=("END",), sees=sees)


def circuit_records(
    shape: Shape, task: str, thresholds: Sequence[float], seed: int = 0
) -> Iterator[RunRecord]:
    """Circuits by position: the edges of random paths, each in one or two random spans."""
    draw = np.random.default_rng((seed, 1))
    topology = with_spans(shape.topology)
    scored = {
        replace(edge, span=span): score
        for edge, score in wiki_store.scored_paths(shape, draw, 14 + 2 * shape.n_layers).items()
        for span in (("END",) if edge.dst.kind == "logits" else draw.choice(SPANS, 2).tolist())
    }
    for threshold in thresholds:
        kept = {edge: score for edge, score in scored.items() if score >= threshold}
        spec = wiki_store.run_spec(shape, task, wiki_store.acdc(threshold))
        where = {"positions": "spans", "spans_hash": find_task(task).spans_hash()}
        yield RunRecord(
            spec=spec.model_copy(update=where),
            circuit=Circuit(topology, frozenset(kept), kept),
            decisions=(),
            metrics=wiki_store.metrics_at(len(kept) / max(1, len(scored))),
            details={"d_model": shape.d_model, "warnings": []},
            wall_seconds=2.0,
            environment={"device": "cpu"},
            parity_error=1e-6,
        )


def with_attention(record: RunRecord, shape: Shape, seed: int = 0) -> RunRecord:
    """A profile run with the attention of every head between the spans."""
    draw = np.random.default_rng((seed, 2))
    weights = {}
    for node in shape.topology.sources:
        if node.kind == "head":
            rows = np.tril(draw.gamma(0.5, 1.0, (len(SPANS), len(SPANS)))) + 1e-3 * np.eye(4)
            rows = np.rint(255 * rows / rows.sum(1, keepdims=True)).astype(np.uint8)
            weights[str(node)] = base64.b64encode(rows.tobytes()).decode()
    measured = {"spans": list(SPANS), "prompts": 32, "weights": weights}
    return replace(record, profile={**(record.profile or {}), "span_attention": measured})
