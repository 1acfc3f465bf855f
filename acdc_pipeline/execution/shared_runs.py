"""The runs of one driver among several: which it takes next, and which others execute.

A driver keeps to one prompt set (model, task, prompts, seed), for which it has loaded the model and
made the prompts, and begins another one where nobody is at work. Only when there is none left does
it help with a prompt set of another driver, from its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.store import RunFailure, Store
from acdc_pipeline.store.claims import Claims
from acdc_pipeline.text import pluralize

POLL_INTERVAL = 0.5
"""Seconds between two looks at the claims of other drivers, where only their runs are left."""

MESSAGE_INTERVAL = 30.0
"""Seconds between two messages that only runs of other drivers are left."""

_Prompts = tuple[object, ...]


class SharedRuns:
    """The runs that are left, in the order in which this driver claims them.

    Iterating yields each run once, with whether it was found in the store; if not, it is claimed,
    and the claim is released when the next run is requested. Runs that another driver executes come
    last: once it has committed or given them up.

    Args:
        waiting: called with the reason, when only runs of other drivers are left.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        store: Store,
        claims: Claims,
        waiting: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._left: dict[_Prompts, dict[str, PlannedRun]] = {}
        for run in runs:
            self._left.setdefault(_prompts_of(run), {})[run.run_id] = run
        self._store = store
        self._claims = claims
        self._waiting = waiting
        self._sleep = sleep
        self._current: _Prompts | None = None
        self._found: set[str] = set()

    def __iter__(self) -> Iterator[tuple[PlannedRun, bool]]:
        next_message = 0.0
        while self._left:
            others = self._claims.others()
            planned = self._next_own(others)
            if planned is None:
                self._look_for_found(others)
                planned = self._choose(others)
            if planned is not None and planned.run_id in self._found:
                self._remove(planned)
                yield planned, True
            elif planned is not None:
                if self._claims.take(planned.run_id):
                    self._remove(planned)
                    self._current = _prompts_of(planned)
                    yield planned, False
                    self._claims.release(planned.run_id)
            else:
                if time.monotonic() >= next_message:
                    next_message = time.monotonic() + MESSAGE_INTERVAL
                    count = pluralize(sum(map(len, self._left.values())), "run")
                    self._waiting(f"waiting for {count} that other drivers execute")
                self._sleep(POLL_INTERVAL)

    def _next_own(self, others: set[str]) -> PlannedRun | None:
        """Return the next run of the prompt set that this driver is at; None if there is none."""
        own = self._left.get(self._current, {}) if self._current is not None else {}
        return next((run for run_id, run in own.items() if run_id not in others), None)

    def _look_for_found(self, others: set[str]) -> None:
        """Look up the runs that other drivers have committed and do not claim any more."""
        left = {run_id for runs in self._left.values() for run_id in runs}
        self._found |= self._store.intact(left - others - self._found)

    def _choose(self, others: set[str]) -> PlannedRun | None:
        """Return a run of another prompt set; None if others execute all that are left."""
        for runs in self._left.values():
            if not others.intersection(runs):
                return next(iter(runs.values()))
        shared = [[r for i, r in runs.items() if i not in others] for runs in self._left.values()]
        most = max(shared, key=len, default=[])
        return most[-1] if most else None

    def _remove(self, planned: PlannedRun) -> None:
        prompts = _prompts_of(planned)
        runs = self._left[prompts]
        del runs[planned.run_id]
        if not runs:
            del self._left[prompts]


class FailuresMeanwhile:
    """The failures of runs that other drivers recorded since this object was made.

    Args:
        runs: the runs that may fail.
    """

    def __init__(self, store: Store, runs: Sequence[PlannedRun]) -> None:
        self._store = store
        wanted = {run.run_id for run in runs}
        self._before = {f.run_id: f for f in store.failures() if f.run_id in wanted}

    def of(self, run_id: str) -> RunFailure | None:
        """Return the failure of a run, if another driver tried it meanwhile. Raises StoreError."""
        failure = self._store.failure(run_id)
        return None if failure == self._before.get(run_id) else failure


def _prompts_of(planned: PlannedRun) -> _Prompts:
    run = planned.run
    return (*planned.model, run.task_hash, run.prompts, run.seed)
