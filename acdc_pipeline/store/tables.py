"""Parts of a record <-> Arrow tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Circuit, Decision, Edge, Node, Receiver, Topology
from acdc_pipeline.store import schemas
from acdc_pipeline.store.record import HeadScore


def edges_table(run_id: str, circuit: Circuit) -> pa.Table:
    """Every edge of the full graph, in the graph's own order."""
    edges = circuit.topology.edges
    return _table(
        schemas.EDGES,
        {
            "run_id": [run_id] * len(edges),
            "src": [str(e.src) for e in edges],
            "dst": [str(e.dst) for e in edges],
            "src_kind": [e.src.kind for e in edges],
            "src_layer": [e.src.layer for e in edges],
            "src_head": [e.src.head for e in edges],
            "dst_kind": [e.dst.kind for e in edges],
            "dst_layer": [e.dst.layer for e in edges],
            "dst_head": [e.dst.head for e in edges],
            "dst_slot": [e.slot for e in edges],
            "score": [circuit.scores.get(e) for e in edges],
            "present": [e in circuit.edges for e in edges],
        },
    )


def circuit_from(table: pa.Table, topology: Topology) -> Circuit:
    """The circuit that `edges_table` wrote, cut from `topology`.

    Raises:
        StoreError: the table's rows are not the edges of `topology`.
    """
    edges = topology.edges
    columns = _columns(table, schemas.EDGES)
    for name, expected in (
        ("src", [str(e.src) for e in edges]),
        ("dst", [str(e.dst) for e in edges]),
        ("dst_slot", [e.slot for e in edges]),
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
    """Every node of the full graph, in computation order."""
    nodes = circuit.topology.nodes
    touched = set(circuit.nodes)
    arriving = Counter(e.dst for e in circuit.edges)
    leaving = Counter(e.src for e in circuit.edges)
    return _table(
        schemas.NODES,
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
    )


def steps_table(decisions: Sequence[Decision]) -> pa.Table:
    """The decision log, in the order of the decisions."""
    return _table(
        schemas.STEPS,
        {
            "step": [d.step for d in decisions],
            "src": [str(d.edge.src) for d in decisions],
            "dst": [str(d.edge.dst) for d in decisions],
            "dst_slot": [d.edge.slot for d in decisions],
            "metric_before": [d.metric_before for d in decisions],
            "metric_after": [d.metric_after for d in decisions],
            "removed": [d.removed for d in decisions],
        },
    )


def decisions_from(table: pa.Table) -> tuple[Decision, ...]:
    """The decision log that `steps_table` wrote. Raises StoreError or GraphError."""
    columns = _columns(table, schemas.STEPS)
    # A log names every edge of a graph, but few nodes: parse each name once.
    node, receiver = cache(Node.parse), cache(Receiver)
    return tuple(
        Decision(step, Edge.into(node(src), receiver(node(dst), slot)), before, after, removed)
        for step, src, dst, slot, before, after, removed in zip(*columns.values(), strict=True)
    )


def heads_table(scores: Sequence[HeadScore]) -> pa.Table:
    """Scores of heads, in their own order."""
    names = schemas.HEADS.names
    return _table(schemas.HEADS, {name: [getattr(s, name) for s in scores] for name in names})


def heads_from(table: pa.Table) -> tuple[HeadScore, ...]:
    """The scores that `heads_table` wrote. Raises StoreError."""
    columns = _columns(table, schemas.HEADS)
    return tuple(HeadScore(*row) for row in zip(*columns.values(), strict=True))


def _table(schema: pa.Schema, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    return pa.Table.from_pydict(dict(columns), schema=schema)


def _columns(table: pa.Table, schema: pa.Schema) -> dict[str, list[Any]]:
    if not table.schema.equals(schema, check_metadata=False):
        raise StoreError(
            f"columns are {', '.join(table.schema.names)}", allowed=", ".join(schema.names)
        )
    return table.to_pydict()
