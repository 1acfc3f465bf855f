"""Progress of a sweep on stderr: a line per worker and a bar on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.streams import write_stderr
from acdc_pipeline.cli.terminal.tables import Column, build_table, fit_columns
from acdc_pipeline.cli.terminal.text import format_clock, wrap
from acdc_pipeline.cli.views.run import run_name
from acdc_pipeline.errors import escape_control_characters
from acdc_pipeline.text import NONE, pluralize

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

    from acdc_pipeline.execution.runs import Outcome, PlannedRun, State

SECONDS_OF_SILENCE = 15.0
MAX_WORKERS_IN_LOG = 4
"""Workers whose state is written when no run has ended for long."""

MAX_RUNS_NAMED = 100
"""In larger sweeps only failures get a line of their own on a terminal."""

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

# before a run has ended, a rate measures start-up rather than the work
_SECONDS_UNTIL_RATE = 20.0
_MIN_BAR, _MAX_BAR = 8, 40
_OTHER_LINES = 6  # lines of the terminal that belong to no worker


@dataclass
class ActiveRun:
    """The run that a worker executes, `since` a time by the clock of the progress.

    Up to `left` edges are left to test; None until the search begins.
    """

    planned: PlannedRun
    since: float
    attempt: int
    tested: int = 0
    kept: int = 0
    left: int | None = None
    total: int = 0

    @property
    def share(self) -> float:
        """The share of the run that is done, between 0 and 1."""
        return 0.0 if self.left is None or not self.total else 1 - self.left / self.total


class SweepProgress:
    """A `SweepListener` that counts `total` runs, and shows nothing.

    Attributes:
        states: number of runs by how they ended.
        active: run of each worker.
    """

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.total = total
        self.clock = clock
        self.states: Counter[State] = Counter()
        self.active: dict[str, ActiveRun] = {}
        self._start = clock()
        self._seen: dict[str, int] = {}

    def waiting(self, reason: str) -> None:
        self._show_message(reason, "dim")

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        self._seen.setdefault(worker, len(self._seen))
        self.active[worker] = ActiveRun(planned, self.clock(), attempt)

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """Update the counts of a worker's run; without a run it is ignored."""
        run = self.active.get(worker)
        if run is None or not (tested or left):
            return  # a worker that is still loading may report zeros
        run.tested, run.kept, run.left = tested, kept, left
        run.total = max(run.total, tested + left)

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        self.active.pop(worker, None)
        run = "" if planned is None else f"; {run_name(planned.run)} goes back into the queue"
        self._show_message(f"{worker} died: {reason}{run}", "yellow")

    def ended(self, outcome: Outcome) -> None:
        self._count(outcome)
        text = f"[{self.done}/{self.total}] {outcome_text(outcome)}"
        self._show_message(text, "dim" if outcome.error is None else "red")

    def _count(self, outcome: Outcome) -> None:
        self.states[outcome.state] += 1
        self.active.pop(outcome.worker, None)

    def finish(self) -> None:
        """Remove what does not stay."""

    @property
    def workers(self) -> list[tuple[str, ActiveRun]]:
        """Workers and their runs, in the order of the workers' first runs."""
        return sorted(self.active.items(), key=lambda item: self._seen[item[0]])

    @property
    def done(self) -> int:
        """The number of runs that have ended, failed ones included."""
        return self.states.total()

    @property
    def elapsed(self) -> float:
        return self.clock() - self._start

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the time so far; None before a run ended or 20 seconds have passed.

        Runs that were in the store already took no time and do not count.
        """
        under_way = sum(run.share for run in self.active.values())
        worked = self.done - self.states["present"] + under_way
        if worked <= 0 or (worked < 1 and self.elapsed < _SECONDS_UNTIL_RATE):
            return None
        return self.elapsed * max(0.0, self.total - self.done - under_way) / worked

    def _show_message(self, text: str, style: str) -> None:
        """Show a line that stays."""


class SweepLines(SweepProgress):
    """Lines for a log: one per run that ends, and the state of workers after a long silence."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        super().__init__(total, clock)
        self._last = clock()

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        super().started(worker, planned, attempt)
        self._break_silence()

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        super().advanced(worker, tested, kept, left)
        self._break_silence()

    def _show_message(self, text: str, style: str) -> None:
        self._last = self.clock()
        write_stderr(wrap(text, None) + "\n")

    def _break_silence(self) -> None:
        now = self.clock()
        if now - self._last < SECONDS_OF_SILENCE:
            return
        workers = self.workers
        for worker, run in workers[:MAX_WORKERS_IN_LOG]:
            time_text = format_clock(now - run.since)
            name = run_name(run.planned.run)
            self._show_message(f"{worker}: {name}: {_state_text(run)}, {time_text}", "")
        if len(workers) > MAX_WORKERS_IN_LOG:
            more = len(workers) - MAX_WORKERS_IN_LOG
            self._show_message(f"and {pluralize(more, 'more worker')}", "")
        left = self.seconds_left
        about = "" if left is None else f", about {format_clock(left)} left"
        self._show_message(f"{self.done} of {pluralize(self.total, 'run')} done{about}", "")


class SweepLive(SweepProgress):
    """A live display at the bottom of a terminal: a line per worker, and a bar for the sweep."""

    def __init__(
        self, runs: Sequence[PlannedRun], clock: Callable[[], float], console: Console
    ) -> None:
        from rich.live import Live

        super().__init__(len(runs), clock)
        self._widest = _widest_row(runs)
        self._live = Live(
            self, console=console, refresh_per_second=4, transient=True, redirect_stdout=False
        )
        self._live.start()

    def ended(self, outcome: Outcome) -> None:
        """Show how a run ended; of a large sweep, only failures."""
        if outcome.error is not None or self.total <= MAX_RUNS_NAMED:
            super().ended(outcome)
        else:
            self._count(outcome)

    def finish(self) -> None:
        self._live.stop()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        from rich.text import Text

        now, workers = self.clock(), self.workers
        room = max(1, options.size.height - _OTHER_LINES)
        yield Text()
        if workers:
            rows = [_row(worker, run, now) for worker, run in workers[:room]]
            layout = fit_columns(COLUMNS, [*rows, self._widest], options.max_width)
            yield build_table(layout, rows)
        if len(workers) > room:
            yield Text(f"and {pluralize(len(workers) - room, 'more worker')}", style="dim")
        yield self._overall(options.max_width)

    def _show_message(self, text: str, style: str) -> None:
        from rich.text import Text

        console = self._live.console
        lines = wrap(text, console.width, indent="    ")
        console.print(Text(lines, style=style), soft_wrap=True)

    def _overall(self, width: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        text = self._counts()
        line = Table.grid(padding=(0, 2, 0, 0))
        room = min(_MAX_BAR, width - text.cell_len - 4)
        under_way = sum(run.share for run in self.active.values())
        bar = ProgressBar(max(1, self.total), self.done + under_way, width=room)
        line.add_row(*((bar, text) if room >= _MIN_BAR else (text,)))
        return line

    def _counts(self) -> Text:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{self.done} of {self.total} done", style="bold")
        if failed := self.states["failed"]:
            text.append(f", {failed} failed", style="red")
        text.append(f"   {format_clock(self.elapsed)}")
        if (left := self.seconds_left) is not None:
            text.append(f", about {format_clock(left)} left")
        return text


@contextlib.contextmanager
def show_sweep_progress(runs: Sequence[PlannedRun]) -> Iterator[SweepProgress]:
    """Give a listener to a sweep of `runs` whose display suits stderr."""
    listener: SweepProgress
    if sys.stderr.isatty():
        from rich.console import Console

        listener = SweepLive(runs, time.monotonic, Console(stderr=True))
    else:
        listener = SweepLines(len(runs), time.monotonic)
    try:
        yield listener
    finally:
        listener.finish()


def outcome_text(outcome: Outcome) -> str:
    """Return how a run ended in one line; a failure's details follow at the end of the sweep."""
    name = run_name(outcome.planned.run)
    if outcome.state == "present":
        return f"{name}: in the store already"
    tries = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    if outcome.error is not None:
        return f"{name}: failed{tries}: {outcome.error.problem}"
    size = "" if outcome.edges_kept is None else f"{pluralize(outcome.edges_kept, 'edge')}, "
    return f"{name}: {size}{outcome.seconds:.1f} s{tries}"


def _state_text(run: ActiveRun) -> str:
    from acdc_pipeline.specs import ScoredMethod

    if run.left is None:
        return "getting ready"
    if run.planned.run.method.name == "profile":
        return f"{run.tested} of {run.total} heads"
    if isinstance(run.planned.run.method, ScoredMethod):
        return f"{run.tested / max(1, run.total):.0%} done"
    return f"{run.tested} edges tested, {run.kept} kept, at most {run.left} left"


def _widest_row(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Return a row as wide as any will be, so that columns keep their width."""
    from acdc_pipeline.specs import method_label

    specs = [planned.run for planned in runs]
    return {
        "worker": "",
        "model": max((spec.model for spec in specs), key=len),
        "task": max((spec.task for spec in specs), key=len),
        "method": max((method_label(spec.method) for spec in specs), key=len),
        "decided": "",
        "kept": "0000",
        "left": "00000",
        "time": "00:00",
    }


def _row(worker: str, run: ActiveRun, now: float) -> dict[str, str]:
    from acdc_pipeline.specs import method_label

    searching = run.left is not None
    spec = run.planned.run
    again = f", try {run.attempt}" if run.attempt > 1 else ""
    return {
        "worker": worker,
        "model": escape_control_characters(spec.model),
        "task": escape_control_characters(spec.task),
        "method": method_label(spec.method) + again,
        "decided": str(run.tested) if searching else NONE,
        "kept": str(run.kept) if searching else NONE,
        "left": str(run.left) if searching else NONE,
        "time": format_clock(now - run.since),
    }
