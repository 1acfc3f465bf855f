"""What two models or two runs share, as a standalone SVG figure of stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting import svg

_WIDTH, _MARGIN, _LABELS, _NUMBERS = 760.0, 16.0, 250.0, 150.0
_TOP, _BAR, _ROW = 78.0, 14.0, 46.0
_PARTS = ("a", "both", "b")

_STYLE = svg.style_sheet(
    "acdc-pair",
    {
        "ground": svg.GROUND,
        "ink": svg.INK,
        "muted": svg.MUTED,
        "a": svg.BLUE,
        "both": svg.GREEN,
        "b": svg.ORANGE,
    },
    "font-size:12px;fill:var(--ink)",
    """\
& .ground{fill:var(--ground)}& .title{font-size:16px;font-weight:600}
& .note{fill:var(--muted);font-size:11px}
& .a{fill:var(--a)}& .both{fill:var(--both)}& .b{fill:var(--b)}
""",
)

Counts = tuple[int, int, int]
"""Number of items only in the first set, in both, and only in the second."""


@dataclass(frozen=True)
class OverlapRow:
    """One comparison.

    Args:
        edges: counts of edges; None if the models differ in shape.
        role_edges: counts of edges between head roles; None if roles are unknown.
        nodes: counts of nodes, in place of edges by role; None if they are not compared.
    """

    label: str
    edges: Counts | None
    role_edges: Counts | None
    nodes: Counts | None = None


def draw_overlap(a: str, b: str, rows: Sequence[OverlapRow]) -> str:
    """Return an SVG document with the figure; equal rows give equal bytes.

    All bars have the same length. Tooltips and the text beside a bar give the counts.
    """
    parts = [svg.text_element("title", _MARGIN, 28.0, f"{a} and {b}"), *_legend(a, b)]
    for index, row in enumerate(rows):
        y = _TOP + _ROW * index
        parts.append(svg.text_element("", _MARGIN, y + 11, row.label))
        if row.edges is not None:
            parts += _bar(row.edges, y, "edges")
        if row.role_edges is not None:
            parts += _bar(row.role_edges, y + _BAR + 4, "edges by role")
        if row.nodes is not None:
            parts += _bar(row.nodes, y + _BAR + 4, "nodes")
    height = _TOP + _ROW * len(rows) + _MARGIN
    return svg.document(
        "acdc-pair",
        parts,
        width=_WIDTH,
        height=height,
        label=f"Edges shared by {a} and {b}",
        style=_STYLE,
        attributes=f' width="{svg.px(_WIDTH)}" height="{svg.px(height)}"',
    )


def _legend(a: str, b: str) -> list[str]:
    parts, x = [], _MARGIN
    for css, label in zip(_PARTS, (f"only {a}", "both", f"only {b}"), strict=True):
        parts.append(f'<rect class="{css}" x="{svg.px(x)}" y="42" width="12" height="12" rx="2"/>')
        parts.append(svg.text_element("note", x + 18, 52.0, label))
        x += 18 + 6.2 * len(label) + 24
    return parts


def _bar(counts: Counts, y: float, unit: str) -> list[str]:
    total = sum(counts) or 1
    space, x, parts = _WIDTH - _LABELS - 2 * _MARGIN - _NUMBERS, _LABELS, []
    for css, count in zip(_PARTS, counts, strict=True):
        width = space * count / total
        parts.append(
            f'<rect class="{css}" x="{svg.px(x)}" y="{svg.px(y)}" '
            f'width="{svg.px(width)}" height="{svg.px(_BAR)}">'
            f"<title>{count} {unit}</title></rect>"
        )
        x += width
    text = f"{' | '.join(map(str, counts))} {unit}"
    return [*parts, svg.text_element("note", _LABELS + space + 10, y + 11, text)]
