"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.streams import reserve_stdout, write_stderr
from acdc_pipeline.errors import escape_control_characters

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 5.0

Stages = Callable[[str, int, int], None]
"""Listener to work in stages: its name, items done, items in total (0 if unknown)."""


class Bar:
    """A rich progress bar that disappears at the end. It shows `state`, a log shows `line`."""

    def __init__(self) -> None:
        self._progress: RichProgress | None = None

    def begin(self, label: str, total: int | None, state: str, line: str) -> None:
        """Replace the bar by an empty one; a `total` of None is unknown."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.finish()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
            transient=True,
        )
        self._progress.add_task(shorten_model_paths(label), total=total, state=state)
        self._progress.start()

    def update(self, done: float | int, state: str | None, line: str) -> None:
        if self._progress is not None:
            task = self._progress.tasks[0]
            state = task.fields["state"] if state is None else state
            self._progress.update(task.id, completed=done, state=state)

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Lines:
    """Lines for a log."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self._label = ""

    def begin(self, label: str, total: int | None, state: str, line: str) -> None:
        """Write the line, unless it is empty."""
        self._label = label
        if line or self._last is None:
            self._last = self._clock()
        if line:
            self._write(line)

    def update(self, done: float | int, state: str | None, line: str) -> None:
        """Write a line if the last one is old enough."""
        if self._last is None or self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self._write(line)

    def finish(self) -> None:
        """Nothing: lines stay."""

    def _write(self, line: str) -> None:
        write_stderr(shorten_model_paths(f"{self._label}: {line}\n"))


class SearchProgress:
    """Listener to searches, scorings, profiles and evaluations.

    Attributes:
        prefix: text before the label of each search.
        unit: what is counted, in the plural.
        tests_edges: whether edges are tested one by one, and some of them kept.
    """

    def __init__(self, display: Bar | Lines) -> None:
        self._display = display
        self.prefix = ""
        self.unit = "edges"
        self.tests_edges = True
        self._total = 0
        self._parts_done = 0

    def status(self, text: str) -> None:
        """Show on a terminal what takes time before the work itself; a log does without."""
        self._display.begin(f"{self.prefix}{text}", None, "", "")

    def step(self, text: str) -> None:
        """Show that one of several pieces of work begins; in a log too, for it may take minutes."""
        self._display.begin(f"{self.prefix}{text}", None, "", "measuring")

    def part(self, name: str, number: int, of: int) -> None:
        self._parts_done = number - 1
        text = f"part {number} of {of}"
        self._display.begin(f"{self.prefix}{name}", of, text, text)
        self._display.update(self._parts_done, None, text)

    def share(self, done: float) -> None:
        self._display.update(self._parts_done + done, None, f"{done:.0%} done")

    def start(self, total_edges: int, label: str) -> None:
        self._total = total_edges
        verb = "searching" if self.tests_edges else "scoring"
        verb = verb if self.unit == "edges" else "profiling"
        self._display.begin(
            f"{self.prefix}{label}",
            total_edges,
            f"of {total_edges} {self.unit}",
            f"{verb} {total_edges} {self.unit}",
        )

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Show how far it is; edges that will never need a test count as done."""
        if self.tests_edges and self.unit == "edges":
            state = f"{tested} tested, {kept} kept"
            line = f"{state}, at most {left} of {self._total} left"
        elif self.unit == "edges":  # what is counted differs: steps, prompts, nodes, edges
            state = line = f"{tested / max(1, self._total):.0%} done"
        else:
            state = line = f"{tested} of {self._total} {self.unit}"
        self._display.update(self._total - left, state, line)

    def finish(self) -> None:
        self._display.finish()


@contextlib.contextmanager
def show_progress() -> Iterator[SearchProgress]:
    """Give a listener whose display suits stderr: a bar on a terminal, else lines."""
    with _display() as display:
        yield SearchProgress(display)


@contextlib.contextmanager
def show_status(text: str) -> Iterator[None]:
    """Show `text` on a terminal while the block runs; a log does without."""
    with show_progress() as progress:
        progress.status(text)
        yield


@contextlib.contextmanager
def show_stages() -> Iterator[Stages]:
    """Give a listener to work in stages whose display suits stderr."""
    current = None
    with _display() as display:

        def listen(stage: str, done: int, total: int) -> None:
            nonlocal current
            state = f"{done:,} of {total:,}" if total else f"{done:,}"
            if (stage, total) != current:
                current = stage, total
                display.begin(stage, total or None, state, "")
            display.update(done, state, state)

        yield listen


def shorten_model_paths(text: str) -> str:
    """Drop the folders from a model's path, which would push out what comes after.

    Control characters are escaped.
    """
    return re.sub(r"\b(dir|gguf):[^:\n]*/", r"\1:…/", escape_control_characters(text))


@contextlib.contextmanager
def _display() -> Iterator[Bar | Lines]:
    """Give the display that suits stderr; meanwhile, stdout is reserved for the answer."""
    display = Bar() if sys.stderr.isatty() else Lines(time.monotonic)
    with reserve_stdout(), contextlib.ExitStack() as stack:
        stack.callback(display.finish)
        yield display
