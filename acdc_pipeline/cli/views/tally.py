"""How far a sweep is: what its executor tells, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Outcome, State
    from acdc_pipeline.execution.planned import PlannedRun

# Before a run has ended, a rate says more about start-up than about the work.
_SECONDS_UNTIL_RATE = 20.0


@dataclass
class Busy:
    """What one worker is at.

    Args:
        planned: its run.
        since: when it took it up, by the tally's clock.
        attempt: how often the run was tried, this time included.
        tested, kept: edges tested and kept so far.
        left: edges possibly left to test; None until the search begins.
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
        """How much of the run is done, between 0 and 1."""
        return 0.0 if self.left is None or not self.total else 1 - self.left / self.total


@dataclass
class Tally:
    """Counts what it is told, as a `SweepListener` is.

    Args:
        total: how many runs there are to do.
        clock: seconds, from any beginning.
        states: how many runs ended how.
        busy: what each worker is at.
    """

    total: int
    clock: Callable[[], float]
    states: Counter[State] = field(default_factory=Counter)
    busy: dict[str, Busy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self._seen: dict[str, int] = {}

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """`worker` took up a run."""
        self._seen.setdefault(worker, len(self._seen))
        self.busy[worker] = Busy(planned, self.clock(), attempt)

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """`worker` is so far; told of a worker that has no run, it does not count."""
        busy = self.busy.get(worker)
        if busy is None or not (tested or left):
            return  # a worker that is still loading may say so in zeros
        busy.tested, busy.kept, busy.left = tested, kept, left
        busy.total = max(busy.total, tested + left)

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """`worker` is gone."""
        self.busy.pop(worker, None)

    def ended(self, outcome: Outcome) -> None:
        """A run is over."""
        self.states[outcome.state] += 1
        self.busy.pop(outcome.worker, None)

    def at_work(self) -> list[tuple[str, Busy]]:
        """What each worker is at, in the order in which they first took up a run."""
        return sorted(self.busy.items(), key=lambda item: self._seen[item[0]])

    @property
    def done(self) -> int:
        """How many runs are over, the failed ones too."""
        return self.states.total()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self.begun

    @property
    def seconds_left(self) -> float | None:
        """A guess from how long it took so far; None before a run ended or 20 seconds went by.

        Runs that the store had took no time and say nothing about the others.
        """
        under_way = sum(busy.share for busy in self.busy.values())
        worked = self.done - self.states["present"] + under_way
        if worked <= 0 or (worked < 1 and self.elapsed < _SECONDS_UNTIL_RATE):
            return None
        return self.elapsed * max(0.0, self.total - self.done - under_way) / worked
