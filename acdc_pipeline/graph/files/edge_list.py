"""Circuits as lists of edges: lines, JSON arrays of names, or JSON arrays of pairs of nodes.

a0.h1->a5.h3<k>                       one a line; # begins a comment
["a0.h1->a5.h3<k>", "m3->logits"]
[["a0.h1", "a5.h3<k>"], ["m3", "logits"]]
"""

from __future__ import annotations

from collections.abc import Iterable

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.edge_names import SpanlessGraph
from acdc_pipeline.graph.topology import Topology

_ALLOWED = '["a0.h1->a5.h3<k>", …] or [["a0.h1", "a5.h3<k>"], …]'


def read_edge_list(names: Iterable[str], topology: Topology) -> Circuit:
    """Return the circuit of the edges called `names`.

    Raises:
        GraphError: a name is not an edge of this graph, or occurs twice.
    """
    edges: set[Edge] = set()
    for name in names:
        try:
            edge = topology.edge_of(name)
        except SpanlessGraph as error:
            raise GraphError(
                f"'{name}' is in a span, and a list of edges has no positions",
                allowed=error.allowed,
                fix="leave '@' and the span out, or give a node-link JSON, which has the spans: "
                "`acdc runs export RUN --format node-link`",
            ) from None
        if edge in edges:
            raise GraphError(f"'{edge}' is named twice", fix="name every edge once")
        edges.add(edge)
    return Circuit(topology, frozenset(edges))


def read_edge_lines(text: str, topology: Topology) -> Circuit:
    """Return the circuit of a text of one edge a line. Raises GraphError like `read_edge_list`."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return read_edge_list((line for line in lines if line), topology)


def read_edge_json(document: list[object], topology: Topology) -> Circuit:
    """Return the circuit of a JSON array. Raises GraphError like `read_edge_list`."""
    names: list[str] = []
    for index, entry in enumerate(document):
        match entry:
            case str():
                names.append(entry)
            case [str() as source, str() as receiver]:
                names.append(f"{source}->{receiver}")
            case _:
                raise GraphError(f"{entry!r} is not an edge", field=str(index), allowed=_ALLOWED)
    return read_edge_list(names, topology)
