"""Positions of a circuit's nodes and edges in a figure: rows are layers, edges run upwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import INPUT, LOGITS, Node
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.plotting.layered_layout import LayoutEdge, layered_layout, separate
from acdc_pipeline.plotting.svg import Point

MAX_EDGES = 300
"""A figure with more edges than this is unreadable."""

CROWDED = 120
"""Above this number, edges are drawn thinner and closer together."""

NODE_HEIGHT = 22.0
MARGIN = 24.0
GUTTER = 52.0
"""Space for the layer numbers, right of the margin."""

_OF_MLP = frozenset(("mlp", "router", "expert", "shared"))
_CHARACTER_WIDTH = 6.4
PORTS = {"q": -13.0, "k": 0.0, "v": 13.0, None: 0.0}
_GAP = 18.0
_BEND_GAP = 8.0
_MIN_WIDTH = 452.0


@dataclass(frozen=True)
class Row:
    """Nodes at one height; `layer` is None for input and logits."""

    layer: int | None
    nodes: list[Node]
    y: float = 0.0


@dataclass(frozen=True)
class CircuitLayout:
    """Positions in pixels from the figure's upper left corner.

    Args:
        rows: from the input up.
        x, y: centre of each node, or of each node in a span.
        paths: for each drawn edge the points it passes, upwards.
    """

    width: float
    height: float
    rows: list[Row]
    x: Mapping[Any, float]
    y: Mapping[Any, float]
    widths: Mapping[Any, float]
    paths: list[list[Point]]


def rows_of(topology: Topology, drawn: Sequence[Edge]) -> list[Row]:
    """Return the rows of nodes from the input up; a sequential MLP is above its
    layer's heads and mixer."""
    touched = {INPUT, LOGITS} | {node for edge in drawn for node in (edge.src, edge.dst)}
    found: dict[tuple[float, int], Row] = {}
    for node in topology.nodes:
        if node in touched:
            above = node.kind in _OF_MLP and not topology.parallel
            layer = {"input": -1.0, "logits": math.inf}.get(node.kind, float(node.layer or 0))
            nodes = found.setdefault((layer, int(above)), Row(node.layer, [])).nodes
            nodes.insert(0 if node.kind == "router" else len(nodes), node)
    return [found[key] for key in sorted(found)]


def layout_circuit(topology: Topology, drawn: Sequence[Edge]) -> CircuitLayout:
    """Place the edges `drawn`, the nodes they touch, and input and logits."""
    rows = rows_of(topology, drawn)
    widths = {node: _node_width(node, drawn) for row in rows for node in row.nodes}
    layout = layered_layout(
        [row.nodes for row in rows],
        [LayoutEdge(edge.src, edge.dst, PORTS[edge.slot]) for edge in drawn],
        widths=widths,
        gap=_GAP,
        bend_gap=_BEND_GAP if len(drawn) <= CROWDED else 0.6 * _BEND_GAP,
    )
    # Input and logits are alone in their rows, so they can be aligned.
    middle = (layout.x[INPUT] + layout.x[LOGITS]) / 2
    x = {node: layout.x[node] for node in widths} | {INPUT: middle, LOGITS: middle}
    sides = [x[node] + side * widths[node] / 2 for node in x for side in (-1, 1)]
    used = [*sides, *(value for bends in layout.bends for value in bends)]
    left, span = min(used), max(used) - min(used)
    width = max(_MIN_WIDTH, GUTTER + span + 2 * MARGIN)
    shift = (width + GUTTER - span) / 2 - left
    x = {node: value + shift for node, value in x.items()}
    bends = [[value + shift for value in bend] for bend in layout.bends]
    rows, height = _heights(rows, drawn, x, bends)
    y = {node: row.y for row in rows for node in row.nodes}
    return CircuitLayout(
        width, height, rows, x, y, widths, _paths(rows, drawn, x, y, widths, bends)
    )


def _node_width(node: Node, drawn: Sequence[Edge]) -> float:
    text = len(str(node)) * _CHARACTER_WIDTH
    if node.kind == "head":
        return max(46.0, text + 12)
    if node.kind == "mixer" or node.kind in _OF_MLP:
        arriving = sum(edge.dst == node for edge in drawn)
        return max(46.0, text + 12, min(120.0, 5.0 * arriving))
    ends = sum(node in (edge.src, edge.dst) for edge in drawn)
    return max(84.0, min(360.0, 8.0 * ends))


def _heights(
    rows: Sequence[Row],
    drawn: Sequence[Edge],
    x: dict[Node, float],
    bends: Sequence[Sequence[float]],
) -> tuple[list[Row], float]:
    """Return the rows with their y, and the total height; slanted edges get more space."""
    row_of = {node: index for index, row in enumerate(rows) for node in row.nodes}
    lean = [0.0] * len(rows)
    for edge, bend in zip(drawn, bends, strict=True):
        for step, (a, b) in enumerate(pairwise([x[edge.src], *bend, x[edge.dst]])):
            below = row_of[edge.src] + step
            lean[below] = max(lean[below], abs(b - a))
    y, placed = 0.0, list[Row]()
    for index, row in enumerate(rows):
        if index:
            same_layer = row.layer is not None and row.layer == rows[index - 1].layer
            spacing = 46.0 if same_layer else 62.0
            y -= spacing + min(60.0, 0.12 * lean[index - 1])
        placed.append(Row(row.layer, row.nodes, y))
    top = placed[-1].y - NODE_HEIGHT / 2 - 14
    height = -top + NODE_HEIGHT / 2 + 14
    return [Row(row.layer, row.nodes, row.y - top) for row in placed], height


def _paths(
    rows: Sequence[Row],
    drawn: Sequence[Edge],
    x: dict[Node, float],
    y: dict[Node, float],
    widths: dict[Node, float],
    bends: Sequence[Sequence[float]],
) -> list[list[Point]]:
    row_of = {node: index for index, row in enumerate(rows) for node in row.nodes}
    half = NODE_HEIGHT / 2
    leaves = [x[e.src] for e in drawn]
    enters = [x[e.dst] + PORTS[e.slot] for e in drawn]
    next_x = [bend[0] if bend else enters[i] for i, bend in enumerate(bends)]
    last_x = [bend[-1] if bend else leaves[i] for i, bend in enumerate(bends)]
    for node in x:
        if node == INPUT:
            _spread(
                [i for i, e in enumerate(drawn) if e.src == node], next_x, leaves, widths[node] / 2
            )
        elif node.kind in ("mixer", "logits") or node.kind in _OF_MLP:
            _spread(
                [i for i, e in enumerate(drawn) if e.dst == node], last_x, enters, widths[node] / 2
            )
    return [
        [
            (leaves[i], y[edge.src] - half),
            *((bend, rows[row_of[edge.src] + 1 + step].y) for step, bend in enumerate(bends[i])),
            (enters[i], y[edge.dst] + half),
        ]
        for i, edge in enumerate(drawn)
    ]


def _spread(which: list[int], towards: list[float], ends: list[float], half: float) -> None:
    """Spread the ends of the edges `which` over a node's side, each close to its direction."""
    order = sorted(which, key=lambda i: (towards[i], i))
    if not order:
        return
    middle, room = ends[order[0]], half - 10
    step = min(8.0, 2 * room / max(1, len(order) - 1))
    places = separate(
        [towards[i] for i in order],
        [1.0] * len(order),
        [step] * (len(order) - 1),
        low=middle - room,
        high=middle + room,
    )
    for i, place in zip(order, places, strict=True):
        ends[i] = place
