"""One score of all heads as a mosaic of characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import (
    PROSE_WIDTH,
    print_line,
    print_note,
    print_renderable,
    terminal_width,
)
from acdc_pipeline.cli.terminal.text import wrap

if TYPE_CHECKING:
    from acdc_pipeline.plotting.heatmap import TextMosaic
    from acdc_pipeline.plotting.scales import ScoreScale
    from acdc_pipeline.specs.head_scores import ScoreDefinition
    from acdc_pipeline.store import RunRecord

_POSITIVE, _NEGATIVE = "dark_orange", "deep_sky_blue1"
"""A pair of colours that colour-blind readers can tell apart."""


def print_mosaic(records: Sequence[RunRecord], score: str) -> None:
    """Print the mosaic of `score`, one for each task if it is measured on tasks."""
    from acdc_pipeline.plotting.heatmap import TextMosaic
    from acdc_pipeline.specs.head_scores import SCORES, metric_key

    definition = SCORES[score]
    for index, record in enumerate(records if definition.per == "task" else records[:1]):
        if index:
            print_line("")
        task = record.spec.task if definition.per == "task" else None
        metric = metric_key(score, task)
        rows = [row for row in record.heads if row.metric == metric]
        title = definition.title if task is None else f"{definition.title} on {task}"
        if not rows:
            print_note(f"{title}: no head of this model has this score", width=PROSE_WIDTH)
            continue
        values = {(row.layer, row.head): row.value for row in rows}
        claim = f"{title}: {definition.claim[:1].lower()}{definition.claim[1:]}"
        print_line(wrap(claim, terminal_width()))
        layers, heads = record.details["n_layers"], record.details["n_heads"]
        _print(TextMosaic(values, layers, heads, _scale(definition, values)))


def _print(mosaic: TextMosaic) -> None:
    from rich.text import Text

    table = mosaic.table(terminal_width() or PROSE_WIDTH)
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = Text()
    for head, row in enumerate(table, start=-1):
        lines.append(row[0].ljust(widths[0]), style="bold")
        for layer, (cell, width) in enumerate(zip(row[1:], widths[1:], strict=True)):
            style = "bold" if head < 0 else _style(mosaic, layer, head)
            lines.append("  " if width > 2 else " ")
            lines.append(cell.ljust(width), style=style)
        lines.append("\n")
    lines.rstrip()
    print_renderable(lines, width=sum(widths) + 2 * len(widths))
    negative = any(value < 0 for value in mosaic.values.values())
    high = mosaic.scale.high
    legend = f"█ is {high:.3g}" + (f", ≣ is -{high:.3g}" if negative else "")
    print_line(f"(columns are layers; {legend})")


def _style(mosaic: TextMosaic, layer: int, head: int) -> str:
    value = mosaic.values.get((layer, head))
    if not value or mosaic.scale.kind == "share":
        return ""
    return _POSITIVE if value > 0 else _NEGATIVE


def _scale(definition: ScoreDefinition, values: Mapping[tuple[int, int], float]) -> ScoreScale:
    """Return a scale up to 1 for shares, up to the largest value for other scores."""
    from acdc_pipeline.plotting.scales import ScoreScale

    high = 1.0 if definition.high == 1.0 else max(abs(value) for value in values.values())
    return ScoreScale(0.0 if definition.low == 0 else -high, high)
