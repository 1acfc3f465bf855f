"""Tables of words that belong together: a `.csv` with the names of its columns first."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.yaml_file import read_text, shown

_FIX = "write the names of the columns in the first line, and one row a line, parted by commas"


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of the `.csv` file `path`, by column; blank lines are skipped.

    Spaces around a word do not count. Quotes do as in any CSV: `"a, b"` is one word.

    Raises:
        SpecError: the file cannot be read or is no table; names file, line and column.
    """
    lines = _lines(path)
    _, columns = next(lines, (0, []))
    if not columns:
        raise SpecError("holds no table", where=shown(path), fix=_FIX)
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise SpecError(f"the column '{twice[0]}' is there twice", where=f"{shown(path)}:1")
    rows = []
    for number, cells in lines:
        where = f"{shown(path)}:{number}"
        if len(cells) != len(columns):
            raise SpecError(
                f"has {len(cells)} cells, and the table {len(columns)} columns",
                where=where,
                allowed=", ".join(columns),
            )
        for column, cell in zip(columns, cells, strict=True):
            if not cell:
                raise SpecError("is empty", where=where, field=column, fix="write a word there")
        rows.append(dict(zip(columns, cells, strict=True)))
    if not rows:
        raise SpecError("holds no row", where=shown(path), fix=_FIX)
    return rows


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every line that has any. Raises SpecError."""
    text = read_text(path).removeprefix("\ufeff")  # spreadsheets put a mark of order in front
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        where = f"{shown(path)}:{reader.line_num}"
        raise SpecError(f"is not CSV: {error}", where=where, fix=_FIX) from error
