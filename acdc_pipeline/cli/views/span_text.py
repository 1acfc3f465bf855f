"""A prompt with its spans: `Then, [S1 John] and [IO Mary] …`, in one color for each span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import print_renderable, terminal_width
from acdc_pipeline.errors import escape_control_characters

if TYPE_CHECKING:
    from rich.text import Text

UNMARKED = "rest"
"""The span of tokens without a name, which are shown as they are."""

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_STYLES = (*_COLORS, *(f"bold {color}" for color in _COLORS), *(f"{c} reverse" for c in _COLORS))


def mark_spans(tokens: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the parts of a prompt with the name of their span: neighbours of one span together.

    A part with a name is `[S1 John]`; the space in front of it stays outside.

    Args:
        tokens: text of each token.
        names: span of each token.
    """
    for name, group in groupby(zip(names, tokens, strict=True), key=lambda pair: pair[0]):
        text = escape_control_characters("".join(token for _, token in group)).replace("\n", "\\n")
        if name == UNMARKED:
            yield name, text
            continue
        inside = text.lstrip(" ")
        yield name, f"{text[: len(text) - len(inside)]}[{name} {inside}]"


def print_span_names(names: Sequence[str]) -> None:
    """Print the names of the spans, first to last, each in its color."""
    _print_row(
        "spans", [(name, name if i == 0 else f" {name}") for i, name in enumerate(names)], names
    )


def print_marked_prompt(tokens: Sequence[str], names: Sequence[str], known: Sequence[str]) -> None:
    """Print a prompt with its spans.

    Args:
        tokens: text of each token.
        names: span of each token.
        known: the names of all spans, whose order decides their colors.
    """
    _print_row("spans", list(mark_spans(tokens, names)), known)


def _print_row(title: str, parts: Sequence[tuple[str, str]], known: Sequence[str]) -> None:
    from rich.table import Table

    text = _color(parts, known)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True, width=len("corrupted"))
    table.add_column(overflow="fold")
    table.add_row(title, text)
    print_renderable(table, width=terminal_width() or len(text) + 2 * len("corrupted"))


def _color(parts: Sequence[tuple[str, str]], known: Sequence[str]) -> Text:
    from rich.text import Text

    colored = [name for name in known if name != UNMARKED]
    style_of = {name: _STYLES[i % len(_STYLES)] for i, name in enumerate(colored)}
    return Text.assemble(*((text, style_of.get(name, "")) for name, text in parts))
