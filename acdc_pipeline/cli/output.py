"""What commands print: tables for people, one JSON document for programs.

stdout holds the answer and nothing else; progress, warnings and stray prints of libraries go to
stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Columns = frozenset[str]

WIDE = 400


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Where answers for people go. Nothing is read as markup or highlighted.

    Off a terminal lines are as long as they need to be, so that `grep` finds whole rows.
    """
    from rich.console import Console

    wide = None if sys.stdout.isatty() else WIDE
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=wide)


def say(text: str) -> None:
    """A line on stdout, never wrapped."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line on stderr: progress, a warning, what to do next."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def note_wait(text: str) -> None:
    """A line for whoever sits at the terminal while heavy libraries load; logs do without."""
    if sys.stderr.isatty():
        note(text)


def table(
    rows: Sequence[Mapping[str, str]],
    *,
    numbers: Columns = frozenset(),
    whole: Columns = frozenset(),
) -> Table:
    """A plain table of at least one row; the first row's keys name the columns.

    Columns in `numbers` are aligned right; those and the ones in `whole` never wrap.
    """
    from rich import box
    from rich.table import Table

    built = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
        show_edge=False,
        collapse_padding=True,
    )
    for name in rows[0]:
        built.add_column(
            name,
            justify="right" if name in numbers else "left",
            overflow="fold",
            no_wrap=name in numbers | whole,
        )
    for row in rows:
        built.add_row(*row.values())
    return built


def facts(pairs: Mapping[str, str]) -> Table:
    """Two columns without a head: what, and its value."""
    from rich.table import Table

    built = Table(box=None, show_header=False, pad_edge=False)
    built.add_column(style="bold", no_wrap=True)
    built.add_column(overflow="fold")
    for name, value in pairs.items():
        built.add_row(name, value)
    return built


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Sends what libraries print to stderr; only the answer belongs on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; an en dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """A share for a table."""
    return "–" if value is None else f"{value:.1%}"


def relative(path: str) -> str:
    """A path below the working directory without its beginning; anything else as it is."""
    if "://" in path:
        return path
    short = os.path.relpath(path)
    return path if short.startswith("..") else str(Path(short))
