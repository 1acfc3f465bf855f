"""A consensus on the page of its circuit: the edges that are drawn, and their roles."""

from __future__ import annotations

from dataclasses import replace

from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.plotting.circuit_series import SeriesEdge
from acdc_pipeline.wiki.circuits import CircuitSeries, EdgeKey, parse_edge


def drawn_edges(series: CircuitSeries) -> list[SeriesEdge]:
    """Return the edges to draw, in the graph's order.

    They are those of any circuit, and those of OR groups, as in `draw_circuit`. An edge of an OR
    group is drawn with every circuit whose consensus has the group.
    """
    drawn = {
        key: SeriesEdge(parse_edge(key), inside, series.score(key), series.live(key))
        for key, inside in series.edges.items()
    }
    if not series.searches:
        return list(drawn.values())
    absent = (False,) * len(series.cuts)
    for at, cut in enumerate(series.cuts):
        agreed = cut.run.consensus
        if agreed is None:
            continue
        for edge in agreed.in_groups:
            before = drawn.get(_key_of(edge), SeriesEdge(edge, absent, None))
            present = (*before.present[:at], True, *before.present[at + 1 :])
            # The searches that keep an alternative have it on a path.
            live = (
                None if before.live is None else (*before.live[:at], True, *before.live[at + 1 :])
            )
            drawn[_key_of(edge)] = replace(before, present=present, live=live, in_group=True)
        for key, item in drawn.items():
            if item.edge in agreed.kept:
                note = f"in {agreed.kept[item.edge]} of {agreed.searches} circuits"
                drawn[key] = replace(item, score=agreed.share(item.edge), note=note)
    return sorted(drawn.values(), key=lambda item: series.shape.edge_index(item.edge))


def alternatives_outside(series: CircuitSeries) -> list[EdgeKey]:
    """Return the edges of OR groups that are in no circuit, those kept most often first.

    The groups are those of the circuit shown first.
    """
    agreed = series.cuts[series.first_shown].run.consensus
    if agreed is None:
        return []
    edges = sorted(agreed.in_groups, key=series.shape.edge_index)
    keys = map(_key_of, sorted(edges, key=agreed.share, reverse=True))
    return [key for key in keys if key not in series.edges]


def role_of(agreed: Consensus, key: EdgeKey) -> str | None:
    """Return the role of an edge, `OR group 1` for one of the first group; None if none kept it."""
    edge = parse_edge(key)
    group = agreed.group_of(edge)
    return agreed.roles.get(edge) if group is None else f"OR group {group[0] + 1}"


def _key_of(edge: Edge) -> EdgeKey:
    ends = str(edge.src), str(edge.dst), edge.slot or ""
    return (*ends, edge.span) if edge.span else ends
