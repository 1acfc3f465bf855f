"""Several circuits of one graph in one figure, in which every node keeps its position.

CSS classes decide which circuit is visible: the page's slider removes `off` from the elements of
the chosen circuit and adds it to the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import or_
from typing import TypeVar

from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node
from acdc_pipeline.graph.topology import Topology
from acdc_pipeline.plotting.circuit import draw_bands, draw_columns, draw_node, edge_tooltip
from acdc_pipeline.plotting.circuit_layout import (
    CROWDED,
    MAX_EDGES,
    CircuitLayout,
    layout_circuit,
)
from acdc_pipeline.plotting.span_layout import Column, Line, Place, layout_spans, span_lines
from acdc_pipeline.plotting.svg import escape_text, px, smooth_path

LEGIBLE = 80
"""A figure with more than `CROWDED` edges shows at most this many at first, the strongest."""

Item = TypeVar("Item")

Presence = tuple[bool, ...]
"""For each circuit, smallest first, whether it contains an edge or a node."""

Link = Callable[[Node], str | None]
"""Returns the address of a node's page, or None if it has none."""


@dataclass(frozen=True)
class SeriesEdge:
    """An edge of at least one of the circuits.

    Args:
        score: the method's, if there is one.
        live: in which circuits it is on a path from `input` to `logits`; None for all that have it.
        note: what its tooltip says after its name; by default the score.
        in_group: whether it is in an OR group, whose edges are in long dashes.
    """

    edge: Edge
    present: Presence
    score: float | None
    live: Presence | None = None
    note: str = ""
    in_group: bool = False

    @property
    def dead(self) -> Presence:
        """In which circuits it is on no such path."""
        live = self.present if self.live is None else self.live
        return tuple(inside and not lives for inside, lives in zip(self.present, live, strict=True))


@dataclass(frozen=True)
class _Line:
    """An edge as it is drawn, between nodes or what they write in a span, and where it is."""

    item: SeriesEdge
    start: Node | Place
    end: Node | Place
    present: Presence


@dataclass(frozen=True)
class SeriesFigure:
    """An `<svg>` element, and the numbers of edges in it and left out.

    Args:
        has_dead: whether an edge in it is in some circuit on no path from `input` to `logits`.
        level: the percentile of |score| below which edges are hidden at first; 0 if none are.
    """

    svg: str
    drawn: int
    left_out: int
    has_dead: bool = False
    level: int = 0


def draw_series(
    topology: Topology, edges: Sequence[SeriesEdge], *, shown: int, label: str, link: Link
) -> SeriesFigure:
    """Draw `edges`; of more than 300, those in the smallest circuits, then by |score|.

    In a graph with spans these are columns, as in `draw_circuit`. An edge on no path from input to
    logits is dashed in the circuits in which it is dead.

    Args:
        edges: the edges of all circuits, in the graph's order.
        shown: index of the circuit that is visible at first.
        label: description for screen readers; any text.
    """
    chosen = _select(edges)
    columns: list[Column] = []
    if topology.spans:
        placed = _lines_in_spans(topology, chosen)
        layout, columns = layout_spans(topology, list(placed))
        item_of = {item.edge: item for item in chosen}
        lines = [_Line(item_of[e], start, end, at) for (e, start, end), at in placed.items()]
    else:
        layout = layout_circuit(topology, [item.edge for item in chosen])
        lines = [_Line(item, item.edge.src, item.edge.dst, item.present) for item in chosen]
    width, height = px(layout.width), px(layout.height)
    parts = [
        f'<svg class="circuit" role="group" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="--w:{width}px" aria-label="{escape_text(label)}">',
        *draw_bands(layout),
        *draw_columns(columns, layout),
        *_edges(lines, layout, shown),
        *_nodes(lines, layout, shown, link),
        "</svg>",
    ]
    has_dead = any(any(item.dead) for item in chosen)
    return SeriesFigure(
        "\n".join(parts), len(chosen), len(edges) - len(chosen), has_dead, _level(chosen, shown)
    )


def _level(edges: Sequence[SeriesEdge], shown: int) -> int:
    """Return the lowest percentile that leaves at most `LEGIBLE` edges of the circuit in view."""
    sizes = sorted(abs(item.score or 0.0) for item in edges)
    inside = [abs(item.score or 0.0) for item in edges if item.present[shown]]
    if len(inside) <= CROWDED:
        return 0
    for level in range(100):
        least = sizes[level * (len(sizes) - 1) // 100]
        if sum(size >= least for size in inside) <= LEGIBLE:
            return level
    return 0


def _select(edges: Sequence[SeriesEdge]) -> list[SeriesEdge]:
    def key(index: int) -> tuple[int, float]:
        return edges[index].present.index(True), -abs(edges[index].score or 0.0)

    return [edges[index] for index in sorted(sorted(range(len(edges)), key=key)[:MAX_EDGES])]


def _lines_in_spans(topology: Topology, chosen: Sequence[SeriesEdge]) -> dict[Line, Presence]:
    """Return the lines of all circuits, each drawn for itself, and which circuits have them."""
    count = len(chosen[0].present) if chosen else 0
    drawn = [
        set(span_lines(topology, [item.edge for item in chosen if item.present[index]]))
        for index in range(count)
    ]

    def order(line: Line) -> tuple[int, int]:
        return topology.edge_index(line[0]), topology.spans.index(line[2].span)

    every = sorted(set[Line]().union(*drawn), key=order)
    return {line: tuple(line in of_one for of_one in drawn) for line in every}


def _edges(drawn: Sequence[_Line], layout: CircuitLayout, shown: int) -> list[str]:
    """Return every edge, strong ones above weak ones, and a dot where it arrives."""
    largest = max((abs(line.item.score or 0.0) for line in drawn), default=0.0)
    lines: list[tuple[float, str]] = []
    for placed, path in zip(drawn, layout.paths, strict=True):
        item, edge = placed.item, placed.item.edge
        strength = math.sqrt(abs(item.score or 0.0) / largest) if largest else 0.4
        x, y = path[-1]
        dead = ""
        if any(item.dead):
            css = "dead" if item.dead[shown] else ""
            dead = f'class="{css}" data-dead="{_digits(item.dead)}" '
        tooltip = f"{edge}  {item.note}" if item.note else edge_tooltip(edge, item.score)
        dashes = ' stroke-dasharray="8 3"' * item.in_group
        # The page highlights the edges of a node by `data-s` and `data-d`.
        line = (
            f'<g class="edge {edge.slot or "r"}{_off(placed.present, shown)}" '
            f'data-at="{_digits(placed.present)}" data-s="{_name(placed.start)}" '
            f'data-d="{_name(placed.end)}">'
            f"<title>{escape_text(tooltip)}</title>"
            f'<path {dead}d="{smooth_path(path)}" stroke-width="{px(1.2 + 2.6 * strength)}" '
            f'opacity="{0.65 + 0.35 * strength:.2f}"{dashes}/>'
            f'<circle cx="{px(x)}" cy="{px(y)}" r="2.2"/></g>'
        )
        lines.append((strength, line))
    lines.sort(key=lambda line: line[0])
    return [line for _, line in lines]


def _nodes(drawn: Sequence[_Line], layout: CircuitLayout, shown: int, link: Link) -> list[str]:
    presence = merge_presence(
        (end, line.present) for line in drawn for end in (line.start, line.end)
    )
    parts = []
    for node in layout.x:
        present = presence.get(node)
        css = "" if present is None else _off(present, shown)
        at = "" if present is None else f' data-at="{_digits(present)}"'
        tooltip = f"{node} at {node.span}" if isinstance(node, Place) else ""
        data = f'{at} data-n="{_name(node)}"'
        box = draw_node(layout, node, css=css, data=data, tooltip=tooltip)
        address = link(node.node if isinstance(node, Place) else node)
        parts.append(f'<a href="{escape_text(address)}">{box}</a>' if address else box)
    return parts


def merge_presence(found: Iterable[tuple[Item, Presence]]) -> dict[Item, Presence]:
    """Return for each item of `found` the circuits that any of its entries names."""
    merged: dict[Item, Presence] = {}
    for item, present in found:
        merged[item] = tuple(map(or_, merged.get(item, present), present))
    return merged


def _name(end: Node | Place) -> str:
    return f"{end}@{end.span}" if isinstance(end, Place) else str(end)


def _digits(present: Presence) -> str:
    return "".join("1" if value else "0" for value in present)


def _off(present: Presence, shown: int) -> str:
    return "" if present[shown] else " off"
