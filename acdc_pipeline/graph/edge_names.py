"""Edges of a graph by their names, with the nearest one where there is none of that name."""

from __future__ import annotations

from dataclasses import replace

from acdc_pipeline.errors import GraphError, nearest
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.topology import Topology


class SpanlessGraph(GraphError):
    """An edge in a span, of a graph whose edges are at all positions."""


def find_edge(topology: Topology, edge: Edge | str | tuple[str, str]) -> Edge:
    """Return the edge of a name, of a pair of names, or `edge` itself, see `Topology.edge_of`.

    Raises:
        GraphError: it does not exist in the graph. The error names the nearest one.
    """
    if isinstance(edge, tuple) and len(edge) == 2:
        edge = f"{edge[0]}->{edge[1]}"
    try:
        parsed = Edge.parse(edge) if isinstance(edge, str) else edge
        if not isinstance(parsed, Edge):
            raise GraphError(f"'{edge}' is not an edge")
    except GraphError as error:
        problem = f"'{edge}' is not an edge"
        if error.problem != problem:
            problem += f": {error.problem}"
        allowed = error.allowed or "src->dst, as in a0.h1->a5.h3<k>"
        raise GraphError(problem, allowed=_suggest(topology, allowed, str(edge))) from None
    if parsed.span is not None and not topology.spans:
        raise SpanlessGraph(
            f"'{parsed}' is an edge in a span, and this graph has no spans",
            allowed=_suggest(topology, str(topology), str(replace(parsed, span=None))),
            fix="name the edge without '@', or take the graph of a circuit that has positions",
        )
    try:
        topology.check(parsed)
    except GraphError as error:
        allowed = _suggest(topology, error.allowed or "", str(parsed))
        raise GraphError(error.problem, allowed=allowed) from None
    return parsed


def _suggest(topology: Topology, allowed: str, name: str) -> str:
    """`allowed`, followed by the edge whose ends are nearest to those in `name`."""
    src, _, dst = name.partition("->")
    receivers = {str(receiver): receiver for receiver in topology.receivers}
    close = dst if dst in receivers else nearest(dst, receivers)
    if close is None:
        return allowed
    sources = [str(source) for source in topology.sources_of(receivers[close])]
    source = src if src in sources else nearest(src, sources)
    return allowed if source is None else f"{allowed} (did you mean '{source}->{close}'?)"
