"""Circuit -> a standalone SVG figure: rows are layers, the input below, the logits above."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acdc_pipeline.graph.arrangement import (
    CROWDED,
    GUTTER,
    MARGIN,
    NODE_HEIGHT,
    Figure,
    arrange,
    strongest,
)
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import INPUT, LOGITS, Node
from acdc_pipeline.graph.svg import STYLE, curve, number, text_of

Link = Callable[[Node], str | None]

_KINDS = {"q": "into q", "k": "into k", "v": "into v", "r": "into MLP or logits"}


def circuit_svg(
    circuit: Circuit, *, title: str, subtitle: str = "", link: Link | None = None
) -> str:
    """The circuit as a standalone SVG document; the same circuit always gives the same bytes.

    Edges run upwards. Their colour says which input of a head they enter, their width and opacity
    how large |score| is, where there are scores; an edge on no path from input to logits is
    dashed. Of more than 300 edges those with the largest |score| are drawn, and the caption says
    so. Colours follow the reader's light or dark scheme; whoever embeds the figure may set the
    custom properties of `.acdc-circuit`.

    Args:
        circuit: what to draw.
        title: first line; any text.
        subtitle: lines below it; any text.
        link: address of a node's page, or None where it has none.
    """
    drawn = strongest(circuit)
    figure = arrange(circuit, drawn)
    header = _header(title, subtitle, figure.width)
    caption = _caption(circuit, drawn)
    footer = _footer(circuit, drawn, caption, figure.width)
    width, height = number(figure.width), number(header.height + figure.height + footer.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="acdc-circuit" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" aria-label="{text_of(f"{title}. {caption}")}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        *header.parts,
        f'<g transform="translate(0 {number(header.height)})">',
        *_bands(figure),
        *_edges(circuit, drawn, figure),
        *_nodes(circuit, figure, link),
        "</g>",
        f'<g transform="translate(0 {number(header.height + figure.height)})">',
        *footer.parts,
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Block:
    """Lines of text above or below the figure."""

    parts: list[str]
    height: float


def _bands(figure: Figure) -> list[str]:
    """A band behind every second layer drawn, and the number of each in the margin."""
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
            f'<text class="layer" x="{number(GUTTER + 8)}" '
            f'y="{number((top + bottom) / 2 + 3.8)}">layer {layer}</text>'
        )
    return parts


def _edges(circuit: Circuit, drawn: Sequence[Edge], figure: Figure) -> list[str]:
    """Every edge, strong ones above weak ones, and a dot where it arrives."""
    strengths = _strengths(circuit, drawn)
    lines: list[tuple[float, str]] = []
    ports: list[str] = []
    for edge, strength, path in zip(drawn, strengths, figure.paths, strict=True):
        kind = edge.slot or "r"
        dead = "" if edge in circuit.live_edges else " dead"
        width, opacity = _pen(strength, len(drawn))
        score = circuit.scores.get(edge)
        says = str(edge) if score is None else f"{edge}  score {score:.4g}"
        line = (
            f'<path class="edge {kind}{dead}" d="{curve(path)}" stroke-width="{number(width)}" '
            f'opacity="{opacity:.2f}"><title>{text_of(says)}</title></path>'
        )
        lines.append((strength or 0.0, line))
        x, y = path[-1]
        ports.append(f'<circle class="port {kind}" cx="{number(x)}" cy="{number(y)}" r="2.2"/>')
    lines.sort(key=lambda line: line[0])
    return [*(line for _, line in lines), *dict.fromkeys(ports)]


def _strengths(circuit: Circuit, drawn: Sequence[Edge]) -> list[float | None]:
    """|score| of each edge between 0 and 1 on a square-root scale; None where there is none."""
    largest = max((abs(circuit.scores.get(e, 0.0)) for e in drawn), default=0.0)
    return [
        math.sqrt(abs(circuit.scores[e]) / largest) if largest and e in circuit.scores else None
        for e in drawn
    ]


def _pen(strength: float | None, edges: int) -> tuple[float, float]:
    """Width and opacity of an edge among so many."""
    thin = 0.75 if edges > CROWDED else 1.0
    if strength is None:
        return 1.6 * thin, 0.85 * thin
    return (0.8 + 2.6 * strength) * thin, 0.3 + 0.65 * strength


def _nodes(circuit: Circuit, figure: Figure, link: Link | None) -> list[str]:
    live = {INPUT, LOGITS} | {node for e in circuit.live_edges for node in (e.src, e.dst)}
    arriving = Counter(edge.dst for edge in circuit.edges)
    leaving = Counter(edge.src for edge in circuit.edges)
    parts: list[str] = []
    for node, x in figure.x.items():
        y, width = figure.y[node], figure.widths[node]
        dead = "" if node in live else " dead"
        shape = (
            f'<g class="node {node.kind}{dead}">'
            f"<title>{node}: {arriving[node]} in, {leaving[node]} out</title>"
            f'<rect x="{number(x - width / 2)}" y="{number(y - NODE_HEIGHT / 2)}" '
            f'width="{number(width)}" height="{number(NODE_HEIGHT)}" '
            f'rx="{11 if node.kind == "head" else 5}"/>'
            f'<text x="{number(x)}" y="{number(y + 3.8)}">{node}</text></g>'
        )
        address = link(node) if link else None
        parts.append(f'<a href="{text_of(address)}">{shape}</a>' if address else shape)
    return parts


def _header(title: str, subtitle: str, width: float) -> _Block:
    parts: list[str] = []
    y = 14.0
    for text, css, character, leading in ((title, "title", 8.6, 21), (subtitle, "note", 6.3, 17)):
        for line in _wrapped(text, width, character):
            y += leading
            parts.append(_text(css, MARGIN, y, line))
    return _Block(parts, y + 8)


def _footer(circuit: Circuit, drawn: Sequence[Edge], caption: str, width: float) -> _Block:
    """The legend, of what is there only, and the caption."""
    parts: list[str] = []
    x, y = MARGIN, 14.0
    for group in _legend(circuit, drawn):
        lengths = [26 + 8 + 5.7 * len(says) + 18 for *_, says in group]
        if x > MARGIN and x + sum(lengths) - 18 > width - MARGIN:
            x, y = MARGIN, y + 19
        for (css, pen, opacity, says), length in zip(group, lengths, strict=True):
            parts.append(
                f'<path class="edge {css}" d="M{number(x)} {number(y)}h26" '
                f'stroke-width="{number(pen)}" opacity="{opacity:.2f}"/>'
            )
            parts.append(_text("note", x + 34, y + 4, says))
            x += length
    y += 8 if parts else -14
    for line in _wrapped(caption, width, 6.3):
        y += 18
        parts.append(_text("note", MARGIN, y, line))
    return _Block(parts, y + 18)


_Sample = tuple[str, float, float, str]
"""One line of the legend: classes, width, opacity, what it says."""


def _legend(circuit: Circuit, drawn: Sequence[Edge]) -> list[list[_Sample]]:
    """Groups of samples; a group stays on one line."""
    used = {edge.slot or "r" for edge in drawn}
    groups: list[list[_Sample]] = [
        [(kind, 2.2, 1.0, says)] for kind, says in _KINDS.items() if kind in used
    ]
    largest = max((abs(circuit.scores.get(edge, 0.0)) for edge in drawn), default=0.0)
    if largest > 0:
        shares = ((1.0, "|score| "), (0.25, ""), (0.01, ""))
        pens = [_pen(math.sqrt(share), len(drawn)) for share, _ in shares]
        groups.append(
            [
                ("r", *pen, f"{says}{largest * share:.2g}")
                for pen, (share, says) in zip(pens, shares, strict=True)
            ]
        )
    if any(edge not in circuit.live_edges for edge in drawn):
        groups.append([("r dead", 1.6, 0.85, "on no path from input to logits")])
    return groups


def _caption(circuit: Circuit, drawn: Sequence[Edge]) -> str:
    kept, total = len(circuit), circuit.topology.n_edges
    says = (
        f"{kept:,} of {total:,} edges kept ({100 * kept / total:.2g}%), "
        f"{len(circuit.nodes):,} of {len(circuit.topology.nodes):,} nodes."
    )
    if len(drawn) < kept:
        scored = any(edge in circuit.scores for edge in drawn)
        choice = "with the largest |score|" if scored else "nearest the logits"
        says += f" Drawn: the {len(drawn)} edges {choice}."
    return says


def _wrapped(text: str, width: float, character: float) -> list[str]:
    return textwrap.wrap(text, max(20, int((width - 2 * MARGIN) / character)))


def _text(css: str, x: float, y: float, text: str) -> str:
    return f'<text class="{css}" x="{number(x)}" y="{number(y)}">{text_of(text)}</text>'
