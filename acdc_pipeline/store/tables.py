"""Arrow tables of a run: their schemas, and the conversion from and to records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Circuit, Decision, Edge, Node, Receiver, Topology
from acdc_pipeline.graph.table import EDGE_COLUMNS, SPAN_COLUMN, edge_columns, edge_schema
from acdc_pipeline.store.record import HeadScore


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_RUN_ID = _column("run_id", pa.string())

EDGES = pa.schema([_RUN_ID, *EDGE_COLUMNS])
"""Every edge of the full graph, in the order of the graph; `present` marks those kept.

With spans, `dst_slot` is followed by the `span`.
"""

NODES = pa.schema(
    [
        _column("run_id", pa.string()),
        _column("node", pa.string()),
        _column("kind", pa.string()),
        pa.field("layer", pa.int32()),
        pa.field("head", pa.int32()),
        _column("in_circuit", pa.bool_()),
        _column("in_degree", pa.int32()),
        _column("out_degree", pa.int32()),
    ]
)
"""Every node of the full graph, in computation order; degrees count kept edges."""

STEPS = pa.schema(
    [
        _column("step", pa.int32()),
        _column("src", pa.string()),
        _column("dst", pa.string()),
        # Without the slot a step does not say which edge it tested.
        pa.field("dst_slot", pa.string()),
        # 64 bits, so that the log reads back exactly as it was decided.
        _column("metric_before", pa.float64()),
        _column("metric_after", pa.float64()),
        _column("removed", pa.bool_()),
    ]
)
"""The decision log, in the order of the decisions; with spans, the `span` follows `dst_slot`."""

STEPS_WITH_SPANS = STEPS.insert(STEPS.get_field_index("dst_slot") + 1, SPAN_COLUMN)

HEADS = pa.schema(
    [
        _column("model", pa.string()),
        _column("layer", pa.int32()),
        _column("head", pa.int32()),
        _column("metric", pa.string()),
        _column("value", pa.float64()),
        _column("n", pa.int64()),
        _column("seed", pa.int64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
    ]
)
"""Scores of heads, in the order in which they were computed."""


def edges_table(run_id: str, circuit: Circuit) -> pa.Table:
    """Return every edge of the full graph, in the order of the graph."""
    edges = circuit.topology.edges
    columns = {"run_id": [run_id] * len(edges), **edge_columns(circuit, edges)}
    return pa.Table.from_pydict(columns, schema=_edges_of(circuit.topology))


def _edges_of(topology: Topology) -> pa.Schema:
    return pa.schema([_RUN_ID, *edge_schema(topology)])


def circuit_from(table: pa.Table, topology: Topology) -> Circuit:
    """Return the circuit in a table of `edges_table`, as a part of `topology`.

    Raises:
        StoreError: the table's rows are not the edges of `topology`.
    """
    edges = topology.edges
    columns = _columns(table, _edges_of(topology))
    spans = [("span", [e.span for e in edges])] if topology.spans else []
    for name, expected in (
        ("src", [str(e.src) for e in edges]),
        ("dst", [str(e.dst) for e in edges]),
        ("dst_slot", [e.slot for e in edges]),
        *spans,
    ):
        if columns[name] != expected:
            raise StoreError("rows are not the edges of the graph", field=name)
    present, scores = columns["present"], columns["score"]
    return Circuit(
        topology,
        frozenset(e for e, kept in zip(edges, present, strict=True) if kept),
        {e: score for e, score in zip(edges, scores, strict=True) if score is not None},
    )


def nodes_table(run_id: str, circuit: Circuit) -> pa.Table:
    """Return every node of the full graph, in computation order."""
    nodes = circuit.topology.nodes
    touched = set(circuit.nodes)
    arriving = Counter(e.dst for e in circuit.edges)
    leaving = Counter(e.src for e in circuit.edges)
    return pa.Table.from_pydict(
        {
            "run_id": [run_id] * len(nodes),
            "node": [str(n) for n in nodes],
            "kind": [n.kind for n in nodes],
            "layer": [n.layer for n in nodes],
            "head": [n.head for n in nodes],
            "in_circuit": [n in touched for n in nodes],
            "in_degree": [arriving[n] for n in nodes],
            "out_degree": [leaving[n] for n in nodes],
        },
        schema=NODES,
    )


def steps_table(decisions: Sequence[Decision]) -> pa.Table:
    """Return the decision log, in the order of the decisions."""
    spans = any(d.edge.span is not None for d in decisions)
    return pa.Table.from_pydict(
        {
            "step": [d.step for d in decisions],
            "src": [str(d.edge.src) for d in decisions],
            "dst": [str(d.edge.dst) for d in decisions],
            "dst_slot": [d.edge.slot for d in decisions],
            **({"span": [d.edge.span for d in decisions]} if spans else {}),
            "metric_before": [d.metric_before for d in decisions],
            "metric_after": [d.metric_after for d in decisions],
            "removed": [d.removed for d in decisions],
        },
        schema=STEPS_WITH_SPANS if spans else STEPS,
    )


def decisions_from(table: pa.Table) -> tuple[Decision, ...]:
    """Return the decision log in a table of `steps_table`. Raises StoreError or GraphError."""
    spans = SPAN_COLUMN.name in table.schema.names
    columns = _columns(table, STEPS_WITH_SPANS if spans else STEPS)
    # A log names every edge of a graph, but few nodes: parse each node once.
    node, receiver = cache(Node.parse), cache(Receiver)
    columns.setdefault(SPAN_COLUMN.name, [None] * len(table))
    names = ("step", "src", "dst", "dst_slot", "span", "metric_before", "metric_after", "removed")
    rows = zip(*(columns[name] for name in names), strict=True)
    return tuple(
        Decision(step, Edge.into(node(src), receiver(node(dst), slot, at)), before, after, removed)
        for step, src, dst, slot, at, before, after, removed in rows
    )


def heads_table(scores: Sequence[HeadScore]) -> pa.Table:
    """Return scores of heads, in their order."""
    names = HEADS.names
    columns = {name: [getattr(score, name) for score in scores] for name in names}
    return pa.Table.from_pydict(columns, schema=HEADS)


def heads_from(table: pa.Table) -> tuple[HeadScore, ...]:
    """Return the scores in a table of `heads_table`. Raises StoreError."""
    columns = _columns(table, HEADS)
    return tuple(HeadScore(*row) for row in zip(*columns.values(), strict=True))


def _columns(table: pa.Table, schema: pa.Schema) -> dict[str, list[Any]]:
    if not table.schema.equals(schema, check_metadata=False):
        raise StoreError(
            f"columns are {', '.join(table.schema.names)}", allowed=", ".join(schema.names)
        )
    return table.to_pydict()
