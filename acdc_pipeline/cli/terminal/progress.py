"""What a command is doing: a bar on a terminal, plain lines elsewhere, on stderr either way."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.streams import tell

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 5.0


def brief(text: str) -> str:
    """`text` with the folders of a model's path left out: they would hide what comes after."""
    return re.sub(r"\b(dir|gguf):[^:\n]*/", r"\1:…/", text)


@contextlib.contextmanager
def shown() -> Iterator[Bar | Lines]:
    """A listener to searches that suits where stderr goes; what it shows is gone at the end."""
    listener = Bar() if sys.stderr.isatty() else Lines(time.monotonic)
    try:
        yield listener
    finally:
        listener.finish()


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Shows `text` to whoever sits at the terminal for as long as it takes; logs do without."""
    with shown() as listener:
        listener.wait(text)
        yield


class Bar:
    """A bar that disappears when the search is over.

    Attributes:
        prefix: stands before the label of each search.
        counts: what is counted.
        tests: whether edges are tested one by one, and some of them kept.
    """

    def __init__(self) -> None:
        self.prefix = ""
        self.counts = "edges"
        self.tests = True
        self._shown: RichProgress | None = None
        self._part = 1

    def wait(self, text: str) -> None:
        """Says what takes time before a search begins."""
        self._show(text, None, "")

    def doing(self, text: str) -> None:
        """Says at which of several parts of the work we are."""
        self.wait(text)

    def part(self, name: str, number: int, of: int) -> None:
        """Shows which part of several begins, on a bar over all of them."""
        self._part = number
        self._show(name, of, f"part {number} of {of}")
        self.share(0.0)

    def share(self, done: float) -> None:
        """Moves the bar within a part."""
        if self._shown is not None:
            self._shown.update(self._shown.tasks[0].id, completed=self._part - 1 + done)

    def start(self, total_edges: int, label: str) -> None:
        """Shows an empty bar."""
        self._show(label, total_edges, f"of {total_edges} {self.counts}")

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Moves the bar: edges that never need a test count as done."""
        if self._shown is not None:
            task = self._shown.tasks[0]
            done = (task.total or 0) - left
            state = f"{tested} tested, {kept} kept"
            if self.counts != "edges" or not self.tests:
                state = f"{tested} of {tested + left} {self.counts}"
            self._shown.update(task.id, completed=done, state=state)

    def finish(self) -> None:
        """Takes the bar away."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def _show(self, text: str, total: int | None, state: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self.finish()
        self._shown = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
            transient=True,
        )
        self._shown.add_task(brief(f"{self.prefix}{text}"), total=total, state=state)
        self._shown.start()


class Lines:
    """A line every few seconds, for logs.

    Attributes:
        prefix: stands before the label of each search.
        counts, tests: as in `Bar`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.prefix = ""
        self.counts = "edges"
        self.tests = True
        self._clock = clock
        self._last = 0.0
        self._label = ""
        self._total = 0

    def wait(self, text: str) -> None:
        """Nothing: a log is not impatient."""

    def doing(self, text: str) -> None:
        """A line for each part of the work, which may take minutes."""
        tell(brief(f"{self.prefix}{text}\n"))

    def part(self, name: str, number: int, of: int) -> None:
        """A line for each part."""
        self._label = f"{self.prefix}{name}"
        self._last = self._clock()
        self._write(f"part {number} of {of}")

    def share(self, done: float) -> None:
        """Says how far the part is, if the last line is old enough."""
        if self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self._write(f"{done:.0%} done")

    def start(self, total_edges: int, label: str) -> None:
        """Says that the search begins."""
        self._label, self._total = f"{self.prefix}{label}", total_edges
        self._last = self._clock()
        doing = "profiling" if self.counts != "edges" else "searching"
        if not self.tests:
            doing = "scoring"
        self._write(f"{doing} {total_edges} {self.counts}")

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Says how far it is, if the last line is old enough."""
        if self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            if self.counts != "edges" or not self.tests:
                self._write(f"{tested} of {self._total} {self.counts}")
                return
            self._write(f"{tested} tested, {kept} kept, at most {left} of {self._total} left")

    def finish(self) -> None:
        """Nothing: the result follows."""

    def _write(self, text: str) -> None:
        tell(brief(f"{self._label}: {text}\n"))
