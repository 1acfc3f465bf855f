"""Text for people: plurals, numbers, lines that end between words."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

UNBROKEN = "\N{NO-BREAK SPACE}"
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""A space at which `wrapped` ends no line."""


def counted(count: int, noun: str) -> str:
    """`1 prompt`, `64 prompts`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table, `0.960` or `20.0`; an en dash where there is none.

    Zeros at the end stay, so that numbers below one another have as many digits. 0 is `0`.
    """
    if value is None:
        return "–"
    return f"{value:#.{digits}g}".rstrip(".") if value else "0"


def percent(value: float | None) -> str:
    """A share for a table."""
    return "–" if value is None else f"{value:.1%}"


def kept_text(kept: int | None, total: int | None) -> str:
    """`41 of 1281`."""
    return "–" if kept is None else f"{kept} of {total}"


def share_text(kept: int | None, total: int | None) -> str:
    """`3.2%`."""
    return "–" if kept is None or not total else f"{kept / total:.1%}"


def amount(size: int) -> str:
    """A number of bytes: `780 B`, `12.3 kB`, `4.1 GB`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time in its largest whole unit: `40 seconds`, `3 hours`, `12 days`."""
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), noun)
    return counted(int(seconds), "second")


def span(seconds: float) -> str:
    """A span of time in a sentence: `7 s`, `12 min 30 s`, `1 h 2 min`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def clock(seconds: float) -> str:
    """A span of time as a stopwatch shows it: `0:07`, `12:30`, `1:02:03`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def relative(path: str) -> str:
    """A path below the working directory without its beginning; anything else as it is."""
    if "://" in path:
        return path
    short = os.path.relpath(path)
    return path if short.startswith("..") else str(Path(short))


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` characters, `…` in place of its middle."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return text[: width - 1 - end] + "…" + text[len(text) - end :]


def printable(text: str) -> str:
    """`text` without what a terminal would obey: names of models and metrics come from anywhere.

    Escape sequences and marks that turn the direction of writing become `\ufffd`.
    """
    return _OBEYED.sub("\ufffd", text)


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """`text` in lines of at most `width` characters; no word is cut.

    Args:
        text: may have several lines already.
        width: None means no limit.
        indent: stands before what follows the end of a line that was too long.
    """
    lines = printable(text).splitlines()
    if width is not None:
        wrapper = textwrap.TextWrapper(
            width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines = [part for line in lines for part in wrapper.wrap(line) or [""]]
    return "\n".join(lines).replace(UNBROKEN, " ")
