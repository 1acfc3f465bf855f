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
from acdc_pipeline.plotting.circuit import draw_bands, draw_node, edge_tooltip
from acdc_pipeline.plotting.circuit_layout import MAX_EDGES, CircuitLayout, layout_circuit
from acdc_pipeline.plotting.svg import escape_text, px, smooth_path

Item = TypeVar("Item")

Presence = tuple[bool, ...]
"""For each circuit, smallest first, whether it contains an edge or a node."""

Link = Callable[[Node], str | None]
"""Returns the address of a node's page, or None if it has none."""


@dataclass(frozen=True)
class SeriesEdge:
    """An edge of at least one of the circuits, with the method's score if there is one."""

    edge: Edge
    present: Presence
    score: float | None


@dataclass(frozen=True)
class SeriesFigure:
    """An `<svg>` element, and the numbers of edges in it and left out."""

    svg: str
    drawn: int
    left_out: int


def draw_series(
    topology: Topology, edges: Sequence[SeriesEdge], *, shown: int, label: str, link: Link
) -> SeriesFigure:
    """Draw `edges`; of more than 300, those in the smallest circuits, then by |score|.

    Args:
        edges: the edges of all circuits, in the graph's order.
        shown: index of the circuit that is visible at first.
        label: description for screen readers; any text.
    """
    chosen = _select(edges)
    layout = layout_circuit(topology, [item.edge for item in chosen])
    width, height = px(layout.width), px(layout.height)
    parts = [
        f'<svg class="circuit" role="group" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="--w:{width}px" aria-label="{escape_text(label)}">',
        *draw_bands(layout),
        *_edges(chosen, layout, shown),
        *_nodes(chosen, layout, shown, link),
        "</svg>",
    ]
    return SeriesFigure("\n".join(parts), len(chosen), len(edges) - len(chosen))


def _select(edges: Sequence[SeriesEdge]) -> list[SeriesEdge]:
    def key(index: int) -> tuple[int, float]:
        return edges[index].present.index(True), -abs(edges[index].score or 0.0)

    return [edges[index] for index in sorted(sorted(range(len(edges)), key=key)[:MAX_EDGES])]


def _edges(chosen: Sequence[SeriesEdge], layout: CircuitLayout, shown: int) -> list[str]:
    """Return every edge, strong ones above weak ones, and a dot where it arrives."""
    largest = max((abs(item.score or 0.0) for item in chosen), default=0.0)
    lines: list[tuple[float, str]] = []
    for item, path in zip(chosen, layout.paths, strict=True):
        edge = item.edge
        strength = math.sqrt(abs(item.score or 0.0) / largest) if largest else 0.4
        x, y = path[-1]
        # The page highlights the edges of a node by `data-s` and `data-d`.
        line = (
            f'<g class="edge {edge.slot or "r"}{_off(item.present, shown)}" '
            f'data-at="{_digits(item.present)}" data-s="{edge.src}" data-d="{edge.dst}">'
            f"<title>{escape_text(edge_tooltip(edge, item.score))}</title>"
            f'<path d="{smooth_path(path)}" stroke-width="{px(1.2 + 2.6 * strength)}" '
            f'opacity="{0.65 + 0.35 * strength:.2f}"/>'
            f'<circle cx="{px(x)}" cy="{px(y)}" r="2.2"/></g>'
        )
        lines.append((strength, line))
    lines.sort(key=lambda line: line[0])
    return [line for _, line in lines]


def _nodes(
    chosen: Sequence[SeriesEdge], layout: CircuitLayout, shown: int, link: Link
) -> list[str]:
    presence = merge_presence(
        (node, item.present) for item in chosen for node in (item.edge.src, item.edge.dst)
    )
    parts = []
    for node in layout.x:
        present = presence.get(node)
        css = "" if present is None else _off(present, shown)
        at = "" if present is None else f' data-at="{_digits(present)}"'
        box = draw_node(layout, node, css=css, data=f'{at} data-n="{node}"')
        address = link(node)
        parts.append(f'<a href="{escape_text(address)}">{box}</a>' if address else box)
    return parts


def merge_presence(found: Iterable[tuple[Item, Presence]]) -> dict[Item, Presence]:
    """Return for each item of `found` the circuits that any of its entries names."""
    merged: dict[Item, Presence] = {}
    for item, present in found:
        merged[item] = tuple(map(or_, merged.get(item, present), present))
    return merged


def _digits(present: Presence) -> str:
    return "".join("1" if value else "0" for value in present)


def _off(present: Presence, shown: int) -> str:
    return "" if present[shown] else " off"
