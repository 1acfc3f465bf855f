"""Tables that fit the terminal: columns are left out before a number or an id is cut.

rich shortens or wraps every column alike; here each column defines how it gives way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.streams import write_stdout
from acdc_pipeline.cli.terminal.text import shorten, wrap
from acdc_pipeline.errors import escape_control_characters
from acdc_pipeline.text import NONE

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2
_MIN_NAME = 14

_RENDERED = 100
"""Rows that rich renders, at a millisecond each; those after them are written plainly, if they are
ASCII and of one line."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """A column of a table, and how it gives way where there is no room.

    Args:
        name: head of the column, and key of its cells.
        kind: `whole` is never shortened; neither is `number`, which is right-aligned; `name` may
            lose its middle to `…`; `prose` wraps at words.
        rank: columns of the highest rank are left out first, those whose cells are all equal
            before the others; a column without any value goes before a name is shortened. Rank 0
            always stays.
    """

    name: str
    kind: Literal["whole", "number", "name", "prose"] = "whole"
    rank: int = 0


@dataclass(frozen=True)
class Layout:
    """The columns that fit, their widths, and the names of the columns left out."""

    columns: tuple[Column, ...]
    widths: Mapping[str, int]
    left_out: tuple[str, ...]

    @property
    def width(self) -> int:
        return _total_width(self.widths.values())


def print_table(
    columns: Sequence[Column], rows: Sequence[Row], *, width: int | None = None
) -> None:
    """Print a table of at least one row; name on stderr the columns left out.

    Columns missing from the first row are skipped. Where not even the columns of rank 0 fit, each
    row becomes a block with a line per column. Without `width` the terminal limits the table.
    """
    width = width or output.terminal_width()
    rows = [{name: escape_control_characters(cell) for name, cell in row.items()} for row in rows]
    shown = [column for column in columns if column.name in rows[0]]
    layout = fit_columns(shown, rows, width)
    if width is not None and layout.width > width:
        for index, row in enumerate(rows):
            if index:
                output.print_line("")
            output.print_facts({column.name: row[column.name] for column in shown})
        return
    n_rendered = _RENDERED if _are_plain(layout, rows[_RENDERED:]) else len(rows)
    output.print_renderable(build_table(layout, rows[:n_rendered]), width=layout.width)
    write_stdout("".join(_plain_line(row, layout) for row in rows[n_rendered:]))
    if layout.left_out:
        output.print_note(f"(no room at {width} columns for: {', '.join(layout.left_out)})")


def build_table(layout: Layout, rows: Sequence[Row]) -> Table:
    """Build the rich table of `rows` in the columns and widths of `layout`."""
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


def _are_plain(layout: Layout, rows: Sequence[Row]) -> bool:
    """Return whether every cell is one line of characters that are one column wide."""
    if any(column.kind == "prose" for column in layout.columns):
        return False
    cells = (row[column.name] for column in layout.columns for row in rows)
    return all(cell == NONE or (cell.isascii() and cell.isprintable()) for cell in cells)


def _plain_line(row: Row, layout: Layout) -> str:
    """Return the line of a row whose cells are plain, as rich renders it."""
    cells = [
        f"{_cell(row, column, layout):{'>' if column.kind == 'number' else '<'}{width}}"
        for column, width in ((c, layout.widths[c.name]) for c in layout.columns)
    ]
    return (" " * _GAP).join(cells).rstrip() + "\n"


def fit_columns(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> Layout:
    """Choose the columns that fit into `width`; if even rank 0 does not fit, it is exceeded."""
    full = {c.name: max(len(c.name), *(_line_width(row[c.name]) for row in rows)) for c in columns}
    if width is None:
        return Layout(tuple(columns), full, ())
    least = {c.name: _min_width(c, rows, full[c.name]) for c in columns}
    kept = list(columns)
    for column in sorted(columns, key=lambda c: -c.rank):
        empty = all(row[column.name] == NONE for row in rows)
        if column.rank and empty and _total_width(full[c.name] for c in kept) > width:
            kept.remove(column)
    while _total_width(least[c.name] for c in kept) > width and any(c.rank for c in kept):
        kept.remove(max((c for c in kept if c.rank), key=lambda c: (_is_constant(c, rows), c.rank)))
    widths = {c.name: least[c.name] for c in kept}
    for column in sorted(kept, key=lambda c: c.kind == "prose"):
        spare = max(0, width - _total_width(widths.values()))
        widths[column.name] = min(full[column.name], widths[column.name] + spare)
    return Layout(tuple(kept), widths, tuple(c.name for c in columns if c not in kept))


def _min_width(column: Column, rows: Sequence[Row], full: int) -> int:
    if column.kind == "name":
        return min(full, max(len(column.name), _MIN_NAME))
    if column.kind == "prose":
        words = [len(word) for row in rows for word in row[column.name].split(" ")]
        return min(full, max(len(column.name), _MIN_NAME, *words))
    return full


def _is_constant(column: Column, rows: Sequence[Row]) -> bool:
    """Return whether several rows have the same cell, which then tells none of them apart."""
    return len(rows) > 1 and len({row[column.name] for row in rows}) == 1


def _cell(row: Row, column: Column, layout: Layout) -> str:
    text, width = row[column.name], layout.widths[column.name]
    if column.kind == "name":
        return shorten(text, width)
    return wrap(text, width) if column.kind == "prose" else text


def _line_width(text: str) -> int:
    return max((len(line) for line in text.splitlines()), default=0)


def _total_width(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1)
