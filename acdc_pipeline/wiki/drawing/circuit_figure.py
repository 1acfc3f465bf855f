"""The circuits of one question at several cuts, in one figure in which every node keeps its place.

Which cut is shown is a matter of classes: the page's slider takes `off` from what the chosen
circuit has and gives it to the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from acdc_pipeline.graph import Circuit, Edge, Node, Topology
from acdc_pipeline.graph.arrangement import MARGIN, MOST_EDGES, NODE_HEIGHT, Figure, arrange
from acdc_pipeline.graph.svg import curve, number, text_of
from acdc_pipeline.wiki.text import plain

_GUTTER = 60.0


@dataclass(frozen=True)
class DrawnEdge:
    """An edge of at least one of the circuits.

    Args:
        edge: which.
        at: for each circuit, most demanding cut first, whether it has the edge.
        score: what the method says of it where it is kept; None if nothing.
    """

    edge: Edge
    at: tuple[bool, ...]
    score: float | None


@dataclass(frozen=True)
class CircuitFigure:
    """The figure.

    Args:
        svg: the `<svg>` element, made of checked names and numbers only.
        drawn: edges drawn.
        left_out: edges of the largest circuit that are in the table only.
    """

    svg: str
    drawn: int
    left_out: int


def circuit_figure(
    topology: Topology,
    edges: Sequence[DrawnEdge],
    *,
    shown: int,
    says: str,
    link: Callable[[Node], str | None],
) -> CircuitFigure:
    """Draws `edges`; of more than 300 those that survive longest, then those of largest |score|.

    Args:
        topology: the full graph.
        edges: the edges of all circuits, in the graph's order.
        shown: index of the circuit that is visible at first.
        says: what the figure shows, in a sentence; any text.
        link: address of a node's page, None where it has none.
    """
    chosen = _chosen(edges)
    # Only the graph counts here; checking names against all its edges would take longer than
    # drawing them.
    figure = arrange(Circuit(topology, frozenset()), [item.edge for item in chosen])
    width, height = number(figure.width), number(figure.height)
    parts = [
        f'<svg class="circuit" role="group" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="--w:{width}px" aria-label="{text_of(plain(says))}">',
        *_bands(figure),
        *_paths(chosen, figure, shown),
        *_nodes(chosen, figure, shown, link),
        "</svg>",
    ]
    return CircuitFigure("\n".join(parts), len(chosen), len(edges) - len(chosen))


def _chosen(edges: Sequence[DrawnEdge]) -> list[DrawnEdge]:
    if len(edges) <= MOST_EDGES:
        return list(edges)

    def last(index: int) -> tuple[int, float, int]:
        item = edges[index]
        return item.at.index(True), -abs(item.score or 0.0), index

    return [edges[index] for index in sorted(sorted(range(len(edges)), key=last)[:MOST_EDGES])]


def _bands(figure: Figure) -> list[str]:
    parts: list[str] = []
    layers = list(dict.fromkeys(row.layer for row in figure.rows if row.layer is not None))
    for index, layer in enumerate(layers):
        heights = [row.y for row in figure.rows if row.layer == layer]
        top, bottom = min(heights) - 21, max(heights) + 21
        if index % 2 == 0:
            parts.append(
                f'<rect class="band" x="{number(MARGIN / 2)}" y="{number(top)}" rx="6" '
                f'width="{number(figure.width - MARGIN)}" height="{number(bottom - top)}"/>'
            )
        parts.append(
            f'<text class="layer" x="{number(_GUTTER)}" y="{number((top + bottom) / 2 + 3.8)}">'
            f"layer {layer}</text>"
        )
    return parts


def _paths(chosen: Sequence[DrawnEdge], figure: Figure, shown: int) -> list[str]:
    """Every edge, strong ones above weak ones, and a dot where it arrives."""
    largest = max((abs(item.score or 0.0) for item in chosen), default=0.0)
    lines: list[tuple[float, int, str]] = []
    for index, (item, path) in enumerate(zip(chosen, figure.paths, strict=True)):
        edge = item.edge
        strength = math.sqrt(abs(item.score or 0.0) / largest) if largest else 0.4
        x, y = path[-1]
        # `s` and `d` let the page light up what touches a node.
        lines.append(
            (
                strength,
                index,
                f'<g class="edge {edge.slot or "r"}{_off(item.at, shown)}" '
                f'data-at="{_digits(item.at)}" data-s="{edge.src}" data-d="{edge.dst}">'
                f"<title>{text_of(_says(item))}</title>"
                f'<path d="{curve(path)}" stroke-width="{number(1.2 + 2.6 * strength)}" '
                f'opacity="{0.65 + 0.35 * strength:.2f}"/>'
                f'<circle cx="{number(x)}" cy="{number(y)}" r="2.2"/></g>',
            )
        )
    return [line for *_, line in sorted(lines)]


def _nodes(
    chosen: Sequence[DrawnEdge],
    figure: Figure,
    shown: int,
    link: Callable[[Node], str | None],
) -> list[str]:
    at = _touched(chosen)
    parts: list[str] = []
    for node, x in figure.x.items():
        y, width = figure.y[node], figure.widths[node]
        mask = at.get(node)
        state = "" if mask is None else _off(mask, shown)
        data = "" if mask is None else f' data-at="{_digits(mask)}"'
        shape = (
            f'<g class="node {node.kind}{state}"{data} data-n="{node}">'
            f'<rect x="{number(x - width / 2)}" y="{number(y - NODE_HEIGHT / 2)}" '
            f'width="{number(width)}" height="{number(NODE_HEIGHT)}" '
            f'rx="{11 if node.kind == "head" else 5}"/>'
            f'<text x="{number(x)}" y="{number(y + 3.8)}">{node}</text></g>'
        )
        address = link(node)
        parts.append(f'<a href="{text_of(address)}">{shape}</a>' if address else shape)
    return parts


def _touched(chosen: Sequence[DrawnEdge]) -> Mapping[Node, tuple[bool, ...]]:
    at: dict[Node, tuple[bool, ...]] = {}
    for item in chosen:
        for node in (item.edge.src, item.edge.dst):
            had = at.get(node, (False,) * len(item.at))
            at[node] = tuple(a or b for a, b in zip(had, item.at, strict=True))
    return at


def _says(item: DrawnEdge) -> str:
    return str(item.edge) if item.score is None else f"{item.edge}  score {item.score:.4g}"


def _digits(at: Sequence[bool]) -> str:
    return "".join("1" if present else "0" for present in at)


def _off(at: Sequence[bool], shown: int) -> str:
    return "" if at[shown] else " off"
