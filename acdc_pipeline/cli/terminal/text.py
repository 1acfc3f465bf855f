"""Text for the terminal: sizes, durations, paths, and wrapping at words."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from acdc_pipeline.errors import escape_control_characters
from acdc_pipeline.text import NONE, format_percent, pluralize

UNBROKEN = "\N{NO-BREAK SPACE}"
"""A space at which `wrap` ends no line."""


def format_kept(kept: int | None, total: int | None) -> str:
    """`41 of 1281`."""
    return NONE if kept is None else f"{kept} of {total}"


def format_kept_share(kept: int | None, total: int | None) -> str:
    """`3.2%`."""
    return format_percent(None if kept is None or not total else kept / total)


def format_pairs(kept: int, total: int) -> str:
    """Describe the size of a circuit in pairs of nodes."""
    return f"{kept} of {total} (node, node): q, k, v and spans count once"


def format_size(size: int) -> str:
    """Format a number of bytes: `780 Bytes`, `12.3 kB`, `4.1 GB`."""
    from humanize import naturalsize

    return naturalsize(size)


def format_age(seconds: float) -> str:
    """Format a time span in its largest whole unit, rounded down: `40 seconds`, `3 hours`."""
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return pluralize(int(seconds // size), noun)
    return pluralize(int(seconds), "second")


def format_span(seconds: float) -> str:
    """Format a time span for a sentence: `7 s`, `12 min 30 s`, `1 h 2 min`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def format_clock(seconds: float) -> str:
    """Format a time span as a stopwatch does: `0:07`, `12:30`, `1:02:03`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def relative_path(path: str) -> str:
    """Return a path below the working directory relative to it; any other path or URL as it is."""
    if "://" in path:
        return path
    try:
        short = os.path.relpath(path)
    except FileNotFoundError:  # the working directory was removed meanwhile
        return path
    return path if short.startswith("..") else str(Path(short))


def shorten(text: str, width: int) -> str:
    """Replace the middle of `text` by `…` if it is longer than `width`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return text[: width - 1 - end] + "…" + text[len(text) - end :]


def wrap(text: str, width: int | None, indent: str = "") -> str:
    """Wrap each line of `text` at words; a word longer than `width` stays whole."""
    lines = escape_control_characters(text).splitlines()
    if width is not None:
        wrapper = textwrap.TextWrapper(
            width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines = [part for line in lines for part in wrapper.wrap(line) or [""]]
    return "\n".join(lines).replace(UNBROKEN, " ")
