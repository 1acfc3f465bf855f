"""A sweep's progress for logs: a line for every run that ends, and one when none does for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.streams import tell
from acdc_pipeline.cli.terminal.words import clock, counted
from acdc_pipeline.cli.views.run_names import run_name
from acdc_pipeline.cli.views.tally import Busy, Tally

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Outcome
    from acdc_pipeline.execution.planned import PlannedRun

SECONDS_OF_SILENCE = 15.0
MOST_WORKERS = 4
"""So many say what they are at when a silence is broken."""


class SweepLines:
    """A listener that writes to stderr.

    Args:
        total: how many runs there are to do.
        clock: seconds, from any beginning.
    """

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._tally = Tally(total, clock)
        self._clock = clock
        self._last = clock()

    def waiting(self, reason: str) -> None:
        """Says so."""
        self._say(reason)

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """Counts."""
        self._tally.started(worker, planned, attempt)
        self._break_silence()

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """Says how far everybody is, if nothing was said for long."""
        self._tally.advanced(worker, tested, kept, left)
        self._break_silence()

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """Says so."""
        self._tally.lost(worker, planned, reason)
        self._say(lost_text(worker, planned, reason))

    def ended(self, outcome: Outcome) -> None:
        """Says so, with its number among all runs."""
        self._tally.ended(outcome)
        self._say(f"[{self._tally.done}/{self._tally.total}] {outcome_text(outcome)}")

    def finish(self) -> None:
        """Nothing: the result follows."""

    def _break_silence(self) -> None:
        if self._clock() - self._last < SECONDS_OF_SILENCE:
            return
        at_work = self._tally.at_work()
        for worker, busy in at_work[:MOST_WORKERS]:
            self._say(f"{worker}: {busy_text(busy, self._clock())}")
        if len(at_work) > MOST_WORKERS:
            self._say(f"and {counted(len(at_work) - MOST_WORKERS, 'more worker')}")
        left = self._tally.seconds_left
        about = "" if left is None else f", about {clock(left)} left"
        self._say(f"{self._tally.done} of {counted(self._tally.total, 'run')} done{about}")

    def _say(self, text: str) -> None:
        self._last = self._clock()
        tell(f"{text}\n")


def outcome_text(outcome: Outcome) -> str:
    """How a run ended, in one line; the whole cause of a failure comes at the end of the sweep."""
    name = run_name(outcome.planned.run)
    if outcome.state == "present":
        return f"{name}: in the store already"
    tries = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    if outcome.error is not None:
        return f"{name}: failed{tries}: {outcome.error.problem}"
    size = "" if outcome.edges_kept is None else f"{counted(outcome.edges_kept, 'edge')}, "
    return f"{name}: {size}{outcome.seconds:.1f} s{tries}"


def lost_text(worker: str, planned: PlannedRun | None, reason: str) -> str:
    """That a worker died, and what becomes of its run."""
    run = "" if planned is None else f"; {run_name(planned.run)} goes back into the queue"
    return f"{worker} died: {reason}{run}"


def busy_text(busy: Busy, now: float) -> str:
    """What a worker is at, in one line."""
    return f"{run_name(busy.planned.run)}: {_state(busy)}, {clock(now - busy.since)}"


def _state(busy: Busy) -> str:
    if busy.left is None:
        return "getting ready"
    if busy.planned.run.method.name == "profile":
        return f"{busy.tested} of {busy.total} heads"
    return f"{busy.tested} edges tested, {busy.kept} kept, at most {busy.left} left"
