"""What two models or two runs share, as a figure: a bar each, shared edges in its middle."""

from __future__ import annotations

from collections.abc import Sequence

from acdc_pipeline.graph.svg import number, text_of
from acdc_pipeline.regression.pair import Overlap, Pair

WIDTH, MARGIN, LABELS, BAR, ROW = 760.0, 16.0, 250.0, 14.0, 46.0

_STYLE = """
.acdc-pair{--ground:#ffffff;--ink:#1c2128;--muted:#68707c;--a:#0072b2;--both:#009e73;--b:#d55e00}
@media (prefers-color-scheme:dark){.acdc-pair{--ground:#12161c;--ink:#e8ebf0;--muted:#98a1af;
--a:#4fb3f0;--both:#35c99b;--b:#ff9248}}
.acdc-pair text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
font-size:12px;fill:var(--ink)}
.acdc-pair .ground{fill:var(--ground)}.acdc-pair .title{font-size:16px;font-weight:600}
.acdc-pair .note{fill:var(--muted);font-size:11px}
.acdc-pair .a{fill:var(--a)}.acdc-pair .both{fill:var(--both)}.acdc-pair .b{fill:var(--b)}
"""

_PARTS = (("a", "only_a"), ("both", "both"), ("b", "only_b"))


def pair_svg(a: str, b: str, pairs: Sequence[Pair]) -> str:
    """The figure as a standalone SVG document; the same pairs always give the same bytes.

    For each question a bar of edges, and one of edges by head role where roles are known. The
    parts of a bar are the edges of the first model alone, of both, and of the second alone; all
    bars have one length, and the numbers stand in the tooltip and behind it.

    Args:
        a: name of the first model or run.
        b: name of the second.
        pairs: the questions that both answered.
    """
    top = 78.0
    height = top + ROW * len(pairs) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="acdc-pair" role="img" '
        f'viewBox="0 0 {number(WIDTH)} {number(height)}" width="{number(WIDTH)}" '
        f'height="{number(height)}" aria-label="{text_of(f"Edges shared by {a} and {b}")}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{number(WIDTH)}" height="{number(height)}"/>',
        _text("title", MARGIN, 28.0, f"{a} and {b}"),
        *_legend(a, b),
    ]
    for index, pair in enumerate(pairs):
        y = top + ROW * index
        parts.append(_text("", MARGIN, y + 11, pair.label))
        if pair.edges is not None:
            parts += _bar(pair.edges, y, "edges")
        if pair.role_edges is not None:
            parts += _bar(pair.role_edges, y + BAR + 4, "edges by role")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(a: str, b: str) -> list[str]:
    parts, x = [], MARGIN
    for css, says in (("a", f"only {a}"), ("both", "both"), ("b", f"only {b}")):
        parts.append(f'<rect class="{css}" x="{number(x)}" y="42" width="12" height="12" rx="2"/>')
        parts.append(_text("note", x + 18, 52.0, says))
        x += 18 + 6.2 * len(says) + 24
    return parts


def _bar(overlap: Overlap, y: float, what: str) -> list[str]:
    counts = [(css, len(getattr(overlap, name))) for css, name in _PARTS]
    total = sum(count for _, count in counts) or 1
    room, x, parts = WIDTH - LABELS - 2 * MARGIN - 150, LABELS, []
    for css, count in counts:
        width = room * count / total
        parts.append(
            f'<rect class="{css}" x="{number(x)}" y="{number(y)}" width="{number(width)}" '
            f'height="{number(BAR)}"><title>{count} {what}</title></rect>'
        )
        x += width
    says = f"{' | '.join(str(count) for _, count in counts)} {what}"
    return [*parts, _text("note", LABELS + room + 10, y + 11, says)]


def _text(css: str, x: float, y: float, text: str) -> str:
    return f'<text class="{css}" x="{number(x)}" y="{number(y)}">{text_of(text)}</text>'
