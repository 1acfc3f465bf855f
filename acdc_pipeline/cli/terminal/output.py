"""What commands print: facts and lines for people, one JSON document for programs.

stdout holds the answer and nothing else; progress, warnings and stray prints of libraries go to
stderr.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.streams import flush, put, tell
from acdc_pipeline.cli.terminal.words import printable, wrapped

if TYPE_CHECKING:
    from rich.console import RenderableType

PROSE = 100
"""Columns of running text where no terminal says how wide it is."""


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    put(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    flush()


def terminal_width() -> int | None:
    """Columns of the terminal that stdout goes to.

    None off a terminal: there lines are as long as they need to be, so that `grep` finds whole
    rows.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_renderable(what: RenderableType, *, width: int) -> None:
    """Something of rich's on stdout, `width` columns wide, without blanks at the ends of lines.

    Nothing is read as markup or highlighted.
    """
    from rich.console import Console

    # rich asks the terminal again unless it is told a height too
    plain = Console(
        file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, height=25
    )
    with plain.capture() as captured:
        plain.print(what)
    put("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def print_facts(pairs: Mapping[str, str]) -> None:
    """Two columns without a head: what, and its value, which wraps at words."""
    from rich.table import Table

    names = max(map(len, pairs))
    limit = terminal_width()
    room = None if limit is None else max(20, limit - names - 2)
    values = [wrapped(value, room) for value in pairs.values()]
    built = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    built.add_column(style="bold", no_wrap=True)
    built.add_column(no_wrap=True)
    for name, value in zip(pairs, values, strict=True):
        built.add_row(name, value)
    longest = max(len(line) for value in values for line in value.splitlines() or [""])
    print_renderable(built, width=names + 2 + longest + 2)


def say(text: str) -> None:
    """A line on stdout, never wrapped."""
    put(printable(text) + "\n")


def note(text: str, *, off_terminal: int | None = None, indent: str = "") -> None:
    """Text on stderr: progress, a warning, what to do next. It wraps at words.

    Args:
        text: one line or several.
        off_terminal: how long a line may be where no terminal says so; None means no limit.
        indent: stands before what follows the end of a line that was too long.
    """
    wide = shutil.get_terminal_size().columns if sys.stderr.isatty() else off_terminal
    tell(wrapped(text, wide, indent) + "\n")


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Sends what libraries print to stderr; only the answer belongs on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
