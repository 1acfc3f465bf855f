"""A circuit as a standalone SVG figure: rows are layers, the input below, the logits above."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import INPUT, LOGITS, Node
from acdc_pipeline.plotting import svg
from acdc_pipeline.plotting.circuit_caption import describe_circuit, has_experts, has_mixers
from acdc_pipeline.plotting.circuit_layout import (
    CROWDED,
    GUTTER,
    MARGIN,
    MAX_EDGES,
    NODE_HEIGHT,
    CircuitLayout,
    layout_circuit,
)
from acdc_pipeline.plotting.span_layout import Column, Place, layout_spans, span_lines

if TYPE_CHECKING:
    # `Circuit.draw` imports this module.
    from acdc_pipeline.graph.circuit import Circuit
    from acdc_pipeline.graph.consensus import Consensus

_LABELS = {"q": "into q", "k": "into k", "v": "into v", "r": "into MLP or logits"}

_MIXER_LABEL = "into mixer, MLP or logits"

_EXPERT_LABEL = "into expert, router, MLP or logits"

_COLOURS: dict[str, svg.Colour] = {
    "ground": svg.GROUND,
    "band": svg.BAND,
    "ink": svg.INK,
    "muted": svg.MUTED,
    "line": ("#c9ced6", "#465060"),
    "q": svg.BLUE,
    "k": svg.ORANGE,
    "v": svg.GREEN,
    "r": svg.GREY,
    "head": ("#ffffff", "#232a34"),
    "mlp": ("#eceaf6", "#322f4a"),
    "end": ("#e6e9ee", "#2e3744"),
}

_RULES = """\
& .ground{fill:var(--ground)}
& .band{fill:var(--band)}
& .title{font-size:16px;font-weight:600}
& .note{font-size:12px;fill:var(--muted)}
& .layer{font-size:11px;fill:var(--muted);text-anchor:end}
& .edge{fill:none;stroke-linecap:round}
& .edge:hover{stroke-width:3.5;opacity:1}
& .dead{stroke-dasharray:2 4}
& .q{stroke:var(--q)}& .k{stroke:var(--k)}
& .v{stroke:var(--v)}& .r{stroke:var(--r)}
& .port{stroke:none}
& .port.q{fill:var(--q)}& .port.k{fill:var(--k)}
& .port.v{fill:var(--v)}& .port.r{fill:var(--r)}
& .node rect{stroke:var(--line);fill:var(--head)}
& .node.mlp rect{fill:var(--mlp)}
& .node.input rect,& .node.logits rect{fill:var(--end)}
& .node text{font-size:11px;text-anchor:middle}
& .node.dead rect{stroke-dasharray:2 3}
"""

_STYLE = svg.style_sheet("acdc-circuit", _COLOURS, "fill:var(--ink)", _RULES)

_MIXER_STYLE = svg.style_sheet(
    "acdc-circuit",
    {**_COLOURS, "mixer": ("#f6ead2", "#453619")},
    "fill:var(--ink)",
    _RULES + "& .node.mixer rect{fill:var(--mixer)}\n",
)
"""The style of figures in which there are mixers."""

_SPAN_STYLE = svg.style_sheet(
    "acdc-circuit",
    {**_COLOURS, "mixer": ("#f6ead2", "#453619")},
    "fill:var(--ink)",
    _RULES
    + "& .node.mixer rect{fill:var(--mixer)}\n"
    + "& .span{font-size:12px;font-weight:600;text-anchor:middle}\n"
    + "& .gap{stroke:var(--line);stroke-dasharray:1 4;fill:none}\n",
)
"""The style of figures with a column for each span."""

_EXPERT_STYLE = svg.style_sheet(
    "acdc-circuit",
    {**_COLOURS, "mixer": ("#f6ead2", "#453619"), "router": ("#dcefe6", "#1f4335")},
    "fill:var(--ink)",
    _RULES
    + "& .node.mixer rect{fill:var(--mixer)}\n"
    + "& .node.expert rect,& .node.shared rect{fill:var(--mlp)}\n"
    + "& .node.router rect{fill:var(--router)}\n",
)
"""The style of figures in which experts are nodes."""

_OR_STYLE = ".acdc-circuit .or{stroke-dasharray:8 3}\n"


def draw_circuit(
    circuit: Circuit, *, title: str, subtitle: str = "", consensus: Consensus | None = None
) -> str:
    """Return an SVG document with the circuit; equal circuits give equal bytes.

    Edges run upwards. In a graph with spans these are columns, and a head stands in the span of its
    queries. The colour of an edge shows which input of a head they enter, their width and opacity
    show |score| where there are scores; an edge on no path from input to logits is dashed. Of more
    than 300 edges, those with the largest |score| are drawn, as the caption states. Colours
    follow the reader's light or dark scheme; a page that embeds the figure may set the custom
    properties of `.acdc-circuit`.

    Args:
        consensus: what the scores are shares of. The edges of OR groups are drawn in long dashes,
            those of alternatives outside of the circuit too.
    """
    counted, groups = circuit, consensus.in_groups if consensus else frozenset[Edge]()
    if groups:
        circuit = replace(circuit, edges=circuit.edges | groups)
    drawn = select_edges(circuit)
    columns: list[Column] = []
    lines = drawn
    if circuit.topology.spans:
        placed = span_lines(circuit.topology, drawn)
        lines = [edge for edge, *_ in placed]
        layout, columns = layout_spans(circuit.topology, placed)
    else:
        layout = layout_circuit(circuit.topology, drawn)
    header, above = _header(title, subtitle, layout.width)
    caption = describe_circuit(counted, drawn)
    footer, below = _footer(circuit, drawn, caption, layout.width, consensus)
    height = above + layout.height + below
    parts = [
        *header,
        f'<g transform="translate(0 {svg.px(above)})">',
        *draw_bands(layout),
        *draw_columns(columns, layout),
        *_edges(circuit, lines, layout, consensus),
        *_nodes(circuit, layout),
        "</g>",
        f'<g transform="translate(0 {svg.px(above + layout.height)})">',
        *footer,
        "</g>",
    ]
    return svg.document(
        "acdc-circuit",
        parts,
        width=layout.width,
        height=height,
        label=f"{title}. {caption}",
        style=(_SPAN_STYLE if columns else _style(circuit.nodes)) + _OR_STYLE * bool(groups),
        attributes=f' width="{svg.px(layout.width)}" height="{svg.px(height)}" '
        'style="max-width:100%;height:auto"',
    )


def select_edges(circuit: Circuit) -> list[Edge]:
    """Return the edges to draw, at most `MAX_EDGES`, in the graph's order.

    Those with the largest |score| are preferred; without scores, those nearest the logits.
    """
    edges = circuit.sorted_edges
    position = {edge: index for index, edge in enumerate(edges)}

    def key(edge: Edge) -> tuple[bool, float, bool, int]:
        # Among edges without a score, those that reach the logits come first.
        score = abs(circuit.scores.get(edge, 0.0))
        return (edge not in circuit.scores, -score, edge not in circuit.live_edges, -position[edge])

    return sorted(sorted(edges, key=key)[:MAX_EDGES], key=position.__getitem__)


def draw_bands(layout: CircuitLayout) -> list[str]:
    """Return a band behind every second layer, and the number of each layer in the margin."""
    parts: list[str] = []
    layers = list(dict.fromkeys(row.layer for row in layout.rows if row.layer is not None))
    for index, layer in enumerate(layers):
        heights = [row.y for row in layout.rows if row.layer == layer]
        top, bottom = min(heights) - 21, max(heights) + 21
        if index % 2 == 0:
            parts.append(
                f'<rect class="band" x="{svg.px(MARGIN / 2)}" y="{svg.px(top)}" rx="6" '
                f'width="{svg.px(layout.width - MARGIN)}" height="{svg.px(bottom - top)}"/>'
            )
        y = (top + bottom) / 2 + 3.8
        parts.append(svg.text_element("layer", GUTTER + 8, y, f"layer {layer}"))
    return parts


def draw_node(
    layout: CircuitLayout, node: Node | Place, *, css: str = "", data: str = "", tooltip: str = ""
) -> str:
    """Return the box of a node, with further classes and attributes, each after a space."""
    x, y, width = layout.x[node], layout.y[node], layout.widths[node]
    return (
        f'<g class="node {node.kind}{css}"{data}>'
        f"{f'<title>{tooltip}</title>' if tooltip else ''}"
        f'<rect x="{svg.px(x - width / 2)}" y="{svg.px(y - NODE_HEIGHT / 2)}" '
        f'width="{svg.px(width)}" height="{svg.px(NODE_HEIGHT)}" '
        f'rx="{11 if node.kind == "head" else 5}"/>'
        f'<text x="{svg.px(x)}" y="{svg.px(y + 3.8)}">{node}</text></g>'
    )


def edge_tooltip(edge: Edge, score: float | None) -> str:
    """Return an edge's name with its score, if it has one."""
    return str(edge) if score is None else f"{edge}  score {score:.4g}"


def _edges(
    circuit: Circuit, drawn: Sequence[Edge], layout: CircuitLayout, consensus: Consensus | None
) -> list[str]:
    """Return every edge, strong ones above weak ones, and a dot where it arrives."""
    largest = _largest_score(circuit.scores, drawn)
    lines: list[tuple[float, str]] = []
    ports: list[str] = []
    for edge, path in zip(drawn, layout.paths, strict=True):
        kind = edge.slot or "r"
        css = "" if edge in circuit.live_edges else " dead"
        score = circuit.scores.get(edge)
        tooltip = edge_tooltip(edge, score)
        if consensus is not None:
            css += " or" * (edge in consensus.in_groups)
            tooltip = f"{edge}  in {consensus.kept.get(edge, 0)} of {consensus.searches} circuits"
        # A square root, so that weak edges remain visible.
        strength = math.sqrt(abs(score) / largest) if largest and score is not None else None
        width, opacity = _pen(strength, len(drawn))
        line = (
            f'<path class="edge {kind}{css}" d="{svg.smooth_path(path)}" '
            f'stroke-width="{svg.px(width)}" opacity="{opacity:.2f}">'
            f"<title>{svg.escape_text(tooltip)}</title></path>"
        )
        lines.append((strength or 0.0, line))
        x, y = path[-1]
        ports.append(f'<circle class="port {kind}" cx="{svg.px(x)}" cy="{svg.px(y)}" r="2.2"/>')
    lines.sort(key=lambda line: line[0])
    return [*(line for _, line in lines), *dict.fromkeys(ports)]


def draw_columns(columns: Sequence[Column], layout: CircuitLayout) -> list[str]:
    """Return the name of each span below its column, and lines between the columns."""
    parts: list[str] = []
    for index, column in enumerate(columns):
        name = svg.escape_text(column.name)
        place = f'x="{svg.px(column.x)}" y="{svg.px(layout.height - 6)}"'
        parts.append(f'<text class="span" {place}>{name}</text>')
        if index:
            before = columns[index - 1]
            x = (before.x + before.width / 2 + column.x - column.width / 2) / 2
            parts.append(f'<path class="gap" d="M{svg.px(x)} 0V{svg.px(layout.height - 22)}"/>')
    return parts


def _largest_score(scores: Mapping[Edge, float], drawn: Sequence[Edge]) -> float:
    return max((abs(scores.get(edge, 0.0)) for edge in drawn), default=0.0)


def _pen(strength: float | None, edges: int) -> tuple[float, float]:
    """Return width and opacity of an edge, given how many edges are drawn."""
    thin = 0.75 if edges > CROWDED else 1.0
    if strength is None:
        return 1.6 * thin, 0.85 * thin
    return (0.8 + 2.6 * strength) * thin, 0.3 + 0.65 * strength


def _nodes(circuit: Circuit, layout: CircuitLayout) -> list[str]:
    if circuit.topology.spans:
        return [draw_node(layout, place, tooltip=f"{place} at {place.span}") for place in layout.x]
    live = {INPUT, LOGITS} | {node for e in circuit.live_edges for node in (e.src, e.dst)}
    arriving = Counter(edge.dst for edge in circuit.edges)
    leaving = Counter(edge.src for edge in circuit.edges)
    return [
        draw_node(
            layout,
            node,
            css="" if node in live else " dead",
            tooltip=f"{node}: {arriving[node]} in, {leaving[node]} out",
        )
        for node in layout.x
    ]


def _header(title: str, subtitle: str, width: float) -> tuple[list[str], float]:
    """Return the lines above the figure, and their height."""
    parts: list[str] = []
    y = 14.0
    for text, css, character, leading in ((title, "title", 8.6, 21), (subtitle, "note", 6.3, 17)):
        for line in _wrap(text, width, character):
            y += leading
            parts.append(svg.text_element(css, MARGIN, y, line))
    return parts, y + 8


def _footer(
    circuit: Circuit, drawn: Sequence[Edge], caption: str, width: float, agreed: Consensus | None
) -> tuple[list[str], float]:
    """Return the legend of what the figure contains with the caption, and their height."""
    parts: list[str] = []
    x, y = MARGIN, 14.0
    for group in _legend(circuit, drawn, agreed):
        lengths = [26 + 8 + 5.7 * len(label) + 18 for *_, label in group]
        if x > MARGIN and x + sum(lengths) - 18 > width - MARGIN:
            x, y = MARGIN, y + 19
        for (css, pen, opacity, label), length in zip(group, lengths, strict=True):
            parts.append(
                f'<path class="edge {css}" d="M{svg.px(x)} {svg.px(y)}h26" '
                f'stroke-width="{svg.px(pen)}" opacity="{opacity:.2f}"/>'
            )
            parts.append(svg.text_element("note", x + 34, y + 4, label))
            x += length
    y += 8 if parts else -14
    for line in _wrap(caption, width, 6.3):
        y += 18
        parts.append(svg.text_element("note", MARGIN, y, line))
    return parts, y + 18


_Sample = tuple[str, float, float, str]
"""A line of the legend: classes, width, opacity, label."""


def _legend(
    circuit: Circuit, drawn: Sequence[Edge], consensus: Consensus | None
) -> list[list[_Sample]]:
    """Return groups of samples; a group stays on one line."""
    used = {edge.slot or "r" for edge in drawn}
    labels = _LABELS
    if has_mixers(edge.dst for edge in drawn):
        labels = {**_LABELS, "r": _MIXER_LABEL}
    if has_experts(edge.dst for edge in drawn):
        labels = {**_LABELS, "r": _EXPERT_LABEL}
    groups: list[list[_Sample]] = [
        [(kind, 2.2, 1.0, label)] for kind, label in labels.items() if kind in used
    ]
    largest = _largest_score(circuit.scores, drawn)
    if largest > 0:
        name = "share of searches " if consensus else "|score| "
        shares = ((1.0, name), (0.25, ""), (0.01, ""))
        groups.append(
            [
                ("r", *_pen(math.sqrt(share), len(drawn)), f"{label}{largest * share:.2g}")
                for share, label in shares
            ]
        )
    if any(edge not in circuit.live_edges for edge in drawn):
        groups.append([("r dead", 1.6, 0.85, "on no path from input to logits")])
    if consensus and consensus.groups:
        groups.append([("r or", 1.6, 0.85, "OR group: any one of its alternatives suffices")])
    return groups


def _style(nodes: Iterable[Node]) -> str:
    nodes = list(nodes)
    if has_experts(nodes):
        return _EXPERT_STYLE
    return _MIXER_STYLE if has_mixers(nodes) else _STYLE


def _wrap(text: str, width: float, character: float) -> list[str]:
    return textwrap.wrap(text, max(20, int((width - 2 * MARGIN) / character)))
