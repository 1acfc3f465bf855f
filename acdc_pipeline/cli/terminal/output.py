"""What commands print: facts and lines for people, one JSON document for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.streams import flush_stdout, write_stderr, write_stdout
from acdc_pipeline.cli.terminal.text import wrap
from acdc_pipeline.errors import escape_control_characters

if TYPE_CHECKING:
    from rich.console import RenderableType

# json.dumps escapes only those below the space
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

PROSE_WIDTH = 100
"""Columns of running text where there is no terminal."""


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout; control characters are escaped, other text is not."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_stdout(_UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    flush_stdout()


def terminal_width() -> int | None:
    """Return `COLUMNS`, where it is set, else the width of the terminal behind stdout.

    None off a terminal: there lines are as long as they need to be, so that `grep` finds whole
    rows.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_renderable(renderable: RenderableType, *, width: int) -> None:
    """Print a rich renderable on stdout, `width` columns wide, without trailing blanks.

    Nothing is interpreted as markup or highlighted.
    """
    from rich.console import Console

    # without a height, rich would ask the terminal for both
    console = Console(
        file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, height=25
    )
    with console.capture() as captured:
        console.print(renderable)
    lines = (line.rstrip() for line in captured.get().splitlines())
    write_stdout("".join(line + "\n" for line in lines))


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values in two columns without a head; values wrap at words."""
    from rich.table import Table

    names = max(map(len, facts))
    limit = terminal_width()
    room = None if limit is None else max(20, limit - names - 2)
    values = [wrap(value, room) for value in facts.values()]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value in zip(facts, values, strict=True):
        table.add_row(name, value)
    longest = max(len(line) for value in values for line in value.splitlines() or [""])
    print_renderable(table, width=names + 2 + longest + 2)


def print_line(text: str) -> None:
    """Print a line on stdout, never wrapped."""
    write_stdout(escape_control_characters(text) + "\n")


def print_note(text: str, *, width: int | None = None, indent: str = "") -> None:
    """Print text on stderr, wrapped at words; `width` holds where stderr is not a terminal."""
    columns = shutil.get_terminal_size().columns if sys.stderr.isatty() else width
    write_stderr(wrap(text, columns, indent) + "\n")


def print_warnings(problems: Iterable[object]) -> None:
    """Print each problem on stderr as a warning, its further lines indented."""
    for problem in problems:
        print_note(f"acdc: warning: {problem}".replace("\n", "\n      "))
