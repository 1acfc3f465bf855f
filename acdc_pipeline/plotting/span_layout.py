"""Positions in a figure of a circuit with spans: columns are spans, rows are layers.

A head stands in the span of its queries, as in the figure of Wang et al. 2022 (arXiv 2211.00593):
edges into its keys and values come from the columns that these queries see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.graph.edge import Edge, Receiver
from acdc_pipeline.graph.node import LOGITS, Node, NodeKind
from acdc_pipeline.graph.spans import mixes_positions
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.plotting.circuit_layout import (
    GUTTER,
    MARGIN,
    NODE_HEIGHT,
    PORTS,
    CircuitLayout,
    Row,
    rows_of,
)

_WIDTH = 52.0
_GAP = 10.0
_COLUMN_GAP = 34.0
_HEADER = 26.0


@dataclass(frozen=True, slots=True)
class Place:
    """A node in one span."""

    node: Node
    span: str

    @property
    def kind(self) -> NodeKind:
        """The kind of the node."""
        return self.node.kind

    def __str__(self) -> str:
        return str(self.node)


@dataclass(frozen=True)
class Column:
    """A span in the figure: its name, its middle and its width in pixels."""

    name: str
    x: float
    width: float


Line = tuple[Edge, Place, Place]
"""An edge as it is drawn: from the output that it carries to one that depends on it."""


def span_lines(topology: Topology, drawn: Sequence[Edge]) -> list[Line]:
    """Return the edges `drawn` as often as they are drawn.

    One into a key goes to its head in every span in which that head is read and sees the key.
    """
    read: dict[Node, list[str]] = {}
    for edge in drawn:
        if edge.span is not None and edge.span not in read.setdefault(edge.src, []):
            read[edge.src].append(edge.span)
    return [
        (edge, Place(edge.src, edge.span), Place(edge.dst, span))
        for edge in drawn
        if edge.span is not None
        for span in _read_in(topology, edge, read)
    ]


def layout_spans(topology: Topology, lines: Sequence[Line]) -> tuple[CircuitLayout, list[Column]]:
    """Place the outputs that `lines` connect, in columns for their spans."""
    drawn = list(dict.fromkeys(edge for edge, *_ in lines))
    found = {place for _, *ends in lines for place in ends}
    found |= {Place(LOGITS, span) for span in topology.answer_spans}
    names = [s for s in topology.spans if any(place.span == s for place in found)]
    rows = [
        (row, {s: [n for n in row.nodes if Place(n, s) in found] for s in names})
        for row in rows_of(topology, drawn)
    ]
    x: dict[Place, float] = {}
    columns: list[Column] = []
    left = GUTTER + MARGIN
    for name in names:
        most = max((len(cells[name]) for _, cells in rows), default=1)
        width = max(most * (_WIDTH + _GAP) - _GAP, 7.0 * len(name), _WIDTH)
        columns.append(Column(name, left + width / 2, width))
        for _, cells in rows:
            nodes = cells[name]
            first = left + width / 2 - (len(nodes) - 1) * (_WIDTH + _GAP) / 2
            x |= {Place(n, name): first + i * (_WIDTH + _GAP) for i, n in enumerate(nodes)}
        left += width + _COLUMN_GAP
    height = MARGIN + NODE_HEIGHT + 62.0 * (len(rows) - 1) + _HEADER
    placed, y = [], dict[Place, float]()
    for index, (row, cells) in enumerate(rows):
        at = height - _HEADER - MARGIN / 2 - NODE_HEIGHT / 2 - 62.0 * index
        placed.append(Row(row.layer, row.nodes, at))
        y |= {Place(node, name): at for name in names for node in cells[name]}
    half = NODE_HEIGHT / 2
    paths = [
        [(x[start], y[start] - half), (x[end] + PORTS[edge.slot], y[end] + half)]
        for edge, start, end in lines
    ]
    widths = dict.fromkeys(x, _WIDTH)
    layout = CircuitLayout(left - _COLUMN_GAP + MARGIN, height, placed, x, y, widths, paths)
    return layout, columns


def _read_in(topology: Topology, edge: Edge, read: dict[Node, list[str]]) -> list[str]:
    """The spans in which the destination of an edge is drawn: those that read and see it."""
    assert edge.span is not None
    if not mixes_positions(Receiver(edge.dst, edge.slot, edge.span)):
        return [edge.span]
    seen = [s for s in read.get(edge.dst, ()) if edge.span in topology.visible[s]]
    return seen or [edge.span]
