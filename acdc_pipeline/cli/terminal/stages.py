"""How far a command of several stages is: a counting line on a terminal, rare lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from acdc_pipeline.cli.terminal.progress import SECONDS_BETWEEN_LINES
from acdc_pipeline.cli.terminal.streams import tell

Stages = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: nobody knows)."""

_ERASE = "\r\x1b[2K"


@contextlib.contextmanager
def counting() -> Iterator[Stages]:
    """A listener that suits where stderr goes; what it shows on a terminal is gone at the end."""
    terminal = sys.stderr.isatty()
    between = 0.1 if terminal else SECONDS_BETWEEN_LINES
    last = time.monotonic()

    def hear(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < between:
            return
        last = now
        line = f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}"
        tell(f"{_ERASE}{line}" if terminal else f"{line}\n")

    try:
        yield hear
    finally:
        if terminal:
            tell(_ERASE)
