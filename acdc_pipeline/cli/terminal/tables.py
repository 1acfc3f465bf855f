"""Tables that fit the terminal: a column goes before a number or an id is cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from acdc_pipeline.cli.terminal.output import (
    note,
    print_facts,
    print_renderable,
    say,
    terminal_width,
)
from acdc_pipeline.cli.terminal.words import printable, shortened, wrapped

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
LEAST_NAME = 14
NONE = "–"
"""In the place of a value that there is not."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """A column of a table, and how it gives way where there is no room.

    Args:
        name: its head, and the key of its cells.
        kind: `whole` is never shortened; neither is `number`, which stands on the right; `name`
            may lose its middle to `…`; `prose` wraps at words.
        rank: columns of the highest rank are left out first, and before them those that are the
            same in every row; those without any value before a name is shortened. Rank 0 always
            stays.
    """

    name: str
    kind: Literal["whole", "number", "name", "prose"] = "whole"
    rank: int = 0


@dataclass(frozen=True)
class Layout:
    """The columns that there is room for, how wide each is, and the names of the others."""

    columns: tuple[Column, ...]
    widths: Mapping[str, int]
    left_out: tuple[str, ...]

    @property
    def width(self) -> int:
        """Of the whole table."""
        return _total(self.widths.values())


def print_table(
    columns: Sequence[Column], rows: Sequence[Row], *, width: int | None = None
) -> None:
    """Prints a table of at least one row, and says on stderr what had no room.

    Where not even the columns of rank 0 have room, each row is a block of its own, with a line for
    each column.

    Args:
        columns: from left to right; those that no row has are passed over.
        rows: cells by the name of their column.
        width: how wide it may be; None means the terminal, and off a terminal no limit.
    """
    width = width or terminal_width()
    rows = [{name: printable(cell) for name, cell in row.items()} for row in rows]
    shown = [column for column in columns if column.name in rows[0]]
    layout = fitted(shown, rows, width)
    if width is not None and layout.width > width:
        _print_blocks(shown, rows)
        return
    print_renderable(built(layout, rows), width=layout.width)
    if layout.left_out:
        note(f"(no room at {width} columns for: {', '.join(layout.left_out)})")


def _print_blocks(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    for at, row in enumerate(rows):
        if at:
            say("")
        print_facts({column.name: row[column.name] for column in columns})


def built(layout: Layout, rows: Sequence[Row]) -> Table:
    """`rows` as something that rich prints, in the columns and widths of `layout`."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
        show_edge=False,
        collapse_padding=True,
    )
    for column in layout.columns:
        table.add_column(
            column.name,
            justify="right" if column.kind == "number" else "left",
            no_wrap=True,
            min_width=layout.widths[column.name],
        )
    for row in rows:
        table.add_row(*(_cell(row, column, layout) for column in layout.columns))
    return table


def fitted(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> Layout:
    """How `columns` fit into `width`; wider than that where even the rest needs more."""
    full = {c.name: max(len(c.name), *(_longest(row[c.name]) for row in rows)) for c in columns}
    if width is None:
        return Layout(tuple(columns), full, ())
    least = {c.name: _least(c, rows, full[c.name]) for c in columns}
    kept = list(columns)
    for column in sorted(columns, key=lambda c: -c.rank):
        if (
            column.rank
            and _says_nothing(column, rows)
            and _total(full[c.name] for c in kept) > width
        ):
            kept.remove(column)
    while _total(least[c.name] for c in kept) > width and any(c.rank for c in kept):
        kept.remove(max((c for c in kept if c.rank), key=lambda c: (_is_one(c, rows), c.rank)))
    widths = {c.name: least[c.name] for c in kept}
    for column in sorted(kept, key=lambda c: c.kind == "prose"):
        spare = max(0, width - _total(widths.values()))
        widths[column.name] = min(full[column.name], widths[column.name] + spare)
    return Layout(tuple(kept), widths, tuple(c.name for c in columns if c not in kept))


def _least(column: Column, rows: Sequence[Row], full: int) -> int:
    if column.kind == "name":
        return min(full, max(len(column.name), LEAST_NAME))
    if column.kind == "prose":
        words = [len(word) for row in rows for word in row[column.name].split(" ")]
        return min(full, max(len(column.name), LEAST_NAME, *words))
    return full


def _says_nothing(column: Column, rows: Sequence[Row]) -> bool:
    return all(row[column.name] == NONE for row in rows)


def _is_one(column: Column, rows: Sequence[Row]) -> bool:
    """Whether all of several rows have the same there, so that it tells none of them apart."""
    return len(rows) > 1 and len({row[column.name] for row in rows}) == 1


def _cell(row: Row, column: Column, layout: Layout) -> str:
    text, width = row[column.name], layout.widths[column.name]
    if column.kind == "name":
        return shortened(text, width)
    return wrapped(text, width) if column.kind == "prose" else text


def _longest(text: str) -> int:
    return max((len(line) for line in text.splitlines()), default=0)


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + GAP * (len(each) - 1)
