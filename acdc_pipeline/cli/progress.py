"""Progress of a search: a bar on a terminal, plain lines elsewhere, on stderr either way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from acdc_pipeline.execution import Progress

SECONDS_BETWEEN_LINES = 5.0


def listener() -> Progress:
    """The progress that suits where stderr goes."""
    return Bar() if sys.stderr.isatty() else Lines(time.monotonic)


class Bar:
    """A bar that disappears when the search is over."""

    def __init__(self) -> None:
        self._shown: RichProgress | None = None

    def start(self, total_edges: int, label: str) -> None:
        """Shows an empty bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._shown = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[tested]} tested, {task.fields[kept]} kept", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._shown.add_task(label, total=total_edges, tested=0, kept=0)
        self._shown.start()

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Moves the bar: edges that never need a test count as done."""
        if self._shown is not None:
            task = self._shown.tasks[0]
            done = (task.total or 0) - left
            self._shown.update(task.id, completed=done, tested=tested, kept=kept)

    def finish(self) -> None:
        """Takes the bar away."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


class Lines:
    """A line every few seconds, for logs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0.0
        self._label = ""
        self._total = 0

    def start(self, total_edges: int, label: str) -> None:
        """Says that the search begins."""
        self._label, self._total, self._last = label, total_edges, self._clock()
        self._write(f"searching {total_edges} edges")

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Says how far it is, if the last line is old enough."""
        if self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self._write(f"{tested} tested, {kept} kept, at most {left} of {self._total} left")

    def finish(self) -> None:
        """Nothing: the result follows."""

    def _write(self, text: str) -> None:
        sys.stderr.write(f"{self._label}: {text}\n")
        sys.stderr.flush()
