"""The executor without Ray: in this process, one run after the other. The oracle for the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from acdc_pipeline.errors import AcdcError, NewerRun
from acdc_pipeline.execution.cause import failure_of
from acdc_pipeline.execution.checkpoint import StoreCheckpoint
from acdc_pipeline.execution.executor import Outcome, RunsOne, State, SweepListener
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.store import Store

NAME = "local"
"""What the only worker is called."""


class LocalExecutor:
    """Executes runs here, in the order given.

    Args:
        make: makes what executes a run, such as `Worker`. Called at the first run that is not in
            the store, and again after an error that nobody foresaw: what such an error leaves
            behind, nobody knows.
        checkpoint: seconds between two checkpoints of a long run.
    """

    def __init__(self, make: Callable[[], RunsOne], checkpoint: float = 60.0) -> None:
        self._make = make
        self._checkpoint = checkpoint
        self._runs_one: RunsOne | None = None

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Generator[Outcome, None, None]:
        """Works through `runs`; see `Executor`.

        Raises:
            StoreError: the store cannot be written (any more); what was committed stays.
            InvalidInput: `make` cannot make a worker, such as for a device that is not there.
        """
        for planned in runs:
            listener.started(NAME, planned, 1)
            started = time.perf_counter()
            state, kept, error = self._one(planned, store, listener)
            outcome = Outcome(planned, state, time.perf_counter() - started, 1, NAME, kept, error)
            listener.ended(outcome)
            yield outcome

    def _one(
        self, planned: PlannedRun, store: Store, listener: SweepListener
    ) -> tuple[State, int | None, AcdcError | None]:
        try:
            if store.has(planned.run_id):
                return "present", None, None
        except NewerRun as error:
            return "failed", None, _recorded(store, planned, error)
        if self._runs_one is None:
            self._runs_one = self._make()
        try:
            record = self._runs_one.execute(
                planned.run,
                planned.task,
                _Told(listener),
                StoreCheckpoint(store, planned.run_id, self._checkpoint),
            )
        except AcdcError as error:
            return "failed", None, _recorded(store, planned, error)
        except Exception as error:  # noqa: BLE001  (a bug met by one run is no reason to lose the rest)
            self._runs_one = None
            return "failed", None, _recorded(store, planned, error)
        state: State = "committed" if store.commit(record) else "present"
        return state, None if record.circuit is None else len(record.circuit), None


def _recorded(store: Store, planned: PlannedRun, error: Exception) -> AcdcError:
    failure = failure_of(planned, error, worker=NAME)
    store.record_failure(failure)
    return failure.error()


class _Told:
    """A search's progress, told as the progress of the only worker."""

    def __init__(self, listener: SweepListener) -> None:
        self._listener = listener

    def start(self, total_edges: int, label: str) -> None:
        """Nothing is decided yet."""
        self._listener.advanced(NAME, 0, 0, total_edges)

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Passes it on."""
        self._listener.advanced(NAME, tested, kept, left)

    def finish(self) -> None:
        """Nothing: the outcome follows."""
