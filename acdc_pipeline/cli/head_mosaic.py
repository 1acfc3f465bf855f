"""One score of all heads as a mosaic of characters: a row a head, a column a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import PROSE, note, print_renderable, say, terminal_width
from acdc_pipeline.cli.terminal.words import wrapped

if TYPE_CHECKING:
    from acdc_pipeline.specs.head_scores import ScoreDefinition
    from acdc_pipeline.store import RunRecord

Place = tuple[int, int]
"""Layer and head."""

ABOVE = " ░▒▓█"
BELOW = " -=≡≣"
"""Shades of values above and below zero, in quarters of the scale."""

_ORANGE, _BLUE = "dark_orange", "deep_sky_blue1"
"""Above and below zero where there are colours: a pair that colour-blind people tell apart."""


@dataclass(frozen=True)
class Mosaic:
    """What is drawn.

    Args:
        values: by layer and head; heads that have no value are left out.
        layers: how many columns.
        heads: how many rows.
        full: the value that the darkest shade stands for.
        low: 0 where no value can be below it; only others have colours.
    """

    values: Mapping[Place, float]
    layers: int
    heads: int
    full: float
    low: float | None

    def shade(self, place: Place) -> str:
        """The character of a head; a dot where it has no value."""
        value = self.values.get(place)
        if value is None:
            return "·"
        share = 0.0 if self.full == 0 else value / self.full
        shades = ABOVE if share >= 0 else BELOW
        return shades[min(4, round(4 * abs(share)))]


def print_mosaic(records: Sequence[RunRecord], score: str) -> None:
    """Prints the mosaic of `score`: one for each task if it is measured on tasks."""
    from acdc_pipeline.specs.head_scores import SCORES, metric_key

    definition = SCORES[score]
    for index, record in enumerate(records if definition.per == "task" else records[:1]):
        if index:
            say("")
        task = record.spec.task if definition.per == "task" else None
        metric = metric_key(score, task)
        rows = [row for row in record.heads if row.metric == metric]
        title = definition.title if task is None else f"{definition.title} on {task}"
        if not rows:
            note(f"{title}: no head of this model has this score", off_terminal=PROSE)
            continue
        values = {(row.layer, row.head): row.value for row in rows}
        mosaic = Mosaic(
            values=values,
            layers=record.details["n_layers"],
            heads=record.details["n_heads"],
            full=_full(definition, values),
            low=definition.low,
        )
        claim = f"{title}: {definition.claim[:1].lower()}{definition.claim[1:]}"
        say(wrapped(claim, terminal_width()))
        _print(mosaic)


def drawn(mosaic: Mosaic, width: int | None) -> list[list[str]]:
    """The cells row by row, the row of layers first; with numbers where there is room for them.

    Args:
        mosaic: what to draw.
        width: columns of the terminal; None for no limit.
    """
    room = PROSE if width is None else width
    cells = {
        (layer, head): _cell(mosaic, (layer, head))
        for layer in range(mosaic.layers)
        for head in range(mosaic.heads)
    }
    widest = max(len(cell) for cell in cells.values())
    label = len(f"h{mosaic.heads - 1}")
    if label + mosaic.layers * (widest + 2) > room:
        cells = {place: 2 * mosaic.shade(place) for place in cells}
    head_row = ["", *(str(layer) for layer in range(mosaic.layers))]
    rows = [
        [f"h{head}", *(cells[layer, head] for layer in range(mosaic.layers))]
        for head in range(mosaic.heads)
    ]
    return [head_row, *rows]


def _cell(mosaic: Mosaic, place: Place) -> str:
    value = mosaic.values.get(place)
    if value is None:
        return f"{2 * mosaic.shade(place)} –"
    text = f"{value:.{2 if mosaic.full < 100 else 0}f}"
    return f"{2 * mosaic.shade(place)} {text}"


def _print(mosaic: Mosaic) -> None:
    from rich.text import Text

    table = drawn(mosaic, terminal_width())
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = Text()
    for head, row in enumerate(table, start=-1):
        lines.append(row[0].ljust(widths[0]), style="bold")
        for layer, (cell, width) in enumerate(zip(row[1:], widths[1:], strict=True)):
            style = "bold" if head < 0 else _style(mosaic, (layer, head))
            lines.append("  " if width > 2 else " ")
            lines.append(cell.ljust(width), style=style)
        lines.append("\n")
    lines.rstrip()
    print_renderable(lines, width=sum(widths) + 2 * len(widths))
    below = any(value < 0 for value in mosaic.values.values())
    scale = f"█ is {mosaic.full:.3g}" + (f", ≣ is -{mosaic.full:.3g}" if below else "")
    say(f"(columns are layers; {scale})")


def _style(mosaic: Mosaic, place: Place) -> str:
    value = mosaic.values.get(place)
    if value is None or not value or mosaic.low == 0:
        return ""
    return _ORANGE if value > 0 else _BLUE


def _full(definition: ScoreDefinition, values: Mapping[Place, float]) -> float:
    """Shares have a scale of their own; everything else is held against its largest value."""
    if definition.high == 1.0:
        return 1.0
    return max(abs(value) for value in values.values())
