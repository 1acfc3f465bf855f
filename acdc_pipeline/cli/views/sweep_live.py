"""A sweep's progress on a terminal: a line for every worker, and a bar for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.tables import Column, built, fitted
from acdc_pipeline.cli.terminal.words import clock, counted, wrapped
from acdc_pipeline.cli.views.run_names import method_name
from acdc_pipeline.cli.views.sweep_lines import lost_text, outcome_text
from acdc_pipeline.cli.views.tally import Busy, Tally

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

    from acdc_pipeline.execution.executor import Outcome
    from acdc_pipeline.execution.planned import PlannedRun

COLUMNS = (
    Column("worker", "name", rank=3),
    Column("model", "name"),
    Column("task", "name"),
    Column("method"),
    Column("decided", "number", rank=1),
    Column("kept", "number", rank=2),
    Column("left", "number"),
    Column("time", "number"),
)

MOST_NAMED = 100
"""In larger sweeps only failures get a line of their own."""

_LEAST_BAR, _MOST_BAR = 8, 40
_AROUND = 6  # lines of the terminal that are not a worker's


class SweepLive:
    """A listener that keeps its picture at the bottom of the terminal, on stderr.

    Args:
        runs: what there is to do.
        clock: seconds, from any beginning.
        console: where to draw.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], clock: Callable[[], float], console: Console
    ) -> None:
        from rich.live import Live

        self._tally = Tally(len(runs), clock)
        self._clock = clock
        self._widest = _widest(runs)
        self._live = Live(
            self, console=console, refresh_per_second=4, transient=True, redirect_stdout=False
        )
        self._live.start()

    def waiting(self, reason: str) -> None:
        """Says so above the picture, where it stays."""
        self._say(reason, "dim")

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """Gives the worker a line."""
        self._tally.started(worker, planned, attempt)

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """Counts."""
        self._tally.advanced(worker, tested, kept, left)

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """Says so above the picture, where it stays."""
        self._tally.lost(worker, planned, reason)
        self._say(lost_text(worker, planned, reason), "yellow")

    def ended(self, outcome: Outcome) -> None:
        """Says so above the picture, where it stays."""
        self._tally.ended(outcome)
        failed = outcome.error is not None
        if failed or self._tally.total <= MOST_NAMED:
            text = f"[{self._tally.done}/{self._tally.total}] {outcome_text(outcome)}"
            self._say(text, "red" if failed else "dim")

    def finish(self) -> None:
        """Takes the picture away."""
        self._live.stop()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """The picture at this moment."""
        from rich.text import Text

        now, busy = self._clock(), self._tally.at_work()
        room = max(1, options.size.height - _AROUND)
        shown = busy[:room]
        yield Text()
        if shown:
            rows = [_row(worker, at, now) for worker, at in shown]
            yield built(fitted(COLUMNS, [*rows, self._widest], options.max_width), rows)
        if len(busy) > len(shown):
            yield Text(f"and {counted(len(busy) - len(shown), 'more worker')}", style="dim")
        yield from _overall(self._tally, options.max_width)

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        console = self._live.console
        lines = wrapped(text, console.width, indent="    ")
        console.print(Text(lines, style=style), soft_wrap=True)


def _widest(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """A row as wide as any will be, so that columns do not move when a worker turns to a run."""
    specs = [planned.run for planned in runs]
    return {
        "worker": "",
        "model": max((spec.model for spec in specs), key=len),
        "task": max((spec.task for spec in specs), key=len),
        "method": max((method_name(spec.method) for spec in specs), key=len),
        "decided": "",
        "kept": "0000",
        "left": "00000",
        "time": "00:00",
    }


def _row(worker: str, busy: Busy, now: float) -> dict[str, str]:
    searching = busy.left is not None
    spec = busy.planned.run
    again = f", try {busy.attempt}" if busy.attempt > 1 else ""
    return {
        "worker": worker,
        "model": spec.model,
        "task": spec.task,
        "method": method_name(spec.method) + again,
        "decided": str(busy.tested) if searching else "–",
        "kept": str(busy.kept) if searching else "–",
        "left": str(busy.left) if searching else "–",
        "time": clock(now - busy.since),
    }


def _overall(tally: Tally, width: int) -> Iterable[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    text = _counts(tally)
    line = Table.grid(padding=(0, 2, 0, 0))
    room = min(_MOST_BAR, width - text.cell_len - 4)
    under_way = sum(busy.share for busy in tally.busy.values())
    bar = ProgressBar(max(1, tally.total), tally.done + under_way, width=room)
    line.add_row(*((bar, text) if room >= _LEAST_BAR else (text,)))
    yield line


def _counts(tally: Tally) -> Text:
    from rich.text import Text

    failed = tally.states["failed"]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{tally.done} of {tally.total} done", style="bold")
    if failed:
        text.append(f", {failed} failed", style="red")
    text.append(f"   {clock(tally.elapsed)}")
    if (left := tally.seconds_left) is not None:
        text.append(f", about {clock(left)} left")
    return text
