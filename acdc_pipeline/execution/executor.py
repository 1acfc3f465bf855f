"""The interface of executors, and the local one, which works in this process.

The Ray executor in `execution.ray` stores the same bytes for the same runs; the local executor is
its oracle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from acdc_pipeline.errors import AcdcError, NewerRun
from acdc_pipeline.execution.checkpoint import StoreCheckpoint
from acdc_pipeline.execution.out_of_memory import execute_in_memory
from acdc_pipeline.execution.progress import Progress, SweepListener
from acdc_pipeline.execution.run_worker import RunWorker
from acdc_pipeline.execution.runs import Outcome, PlannedRun, State
from acdc_pipeline.execution.shared_runs import FailuresMeanwhile, SharedRuns
from acdc_pipeline.store import Store
from acdc_pipeline.store.claims import LEASE, Claims
from acdc_pipeline.store.failure import failure_of

LOCAL_WORKER = "local"
"""The name of the only worker of the local executor."""


@runtime_checkable
class Executor(Protocol):
    """Executes runs until each is committed or has failed for good."""

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Iterable[Outcome]:
        """Execute `runs` and yield each outcome as it comes, in no particular order.

        A run that fails does not stop the others. Closing the iterator (or Ctrl-C) ends the work
        between two steps; an unfinished run is not in the store.

        Raises:
            ExecutionFailed: nothing can be executed, for example because no cluster answers.
            InvalidInput: the worker profile requests resources that the cluster does not have.
        """
        ...


@dataclass
class LocalExecutor:
    """Executes runs in this process, in the order given; other drivers may share them.

    Args:
        make: creates what executes runs, such as `Worker`. Called for the first run that is not in
            the store, and again after an unexpected error, which leaves an unknown state.
        checkpoint: seconds between two checkpoints of a long run.
        lease: seconds without a sign of this process after which other drivers of the store may
            take its run.
    """

    make: Callable[[], RunWorker]
    checkpoint: float = 60.0
    lease: float = LEASE
    _worker: RunWorker | None = field(default=None, init=False)
    _listener: SweepListener | None = field(default=None, init=False)

    def report(self, message: str) -> None:
        """Pass a message of a worker on to the listener of the runs."""
        if self._listener is not None:
            self._listener.waiting(message)

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Generator[Outcome, None, None]:
        """Execute `runs`; see `Executor`.

        Raises:
            StoreError: the store cannot be written; committed runs stay.
            InvalidInput: `make` cannot create a worker, for example on a missing device.
        """
        failures = FailuresMeanwhile(store, runs)
        self._listener = listener
        with Claims(store.backend, self.lease) as claims:
            for planned, found in SharedRuns(runs, store, claims, listener.waiting):
                listener.started(LOCAL_WORKER, planned, 1)
                started = time.perf_counter()
                state, kept, error = (
                    ("present", None, None)
                    if found
                    else self._execute_one(planned, store, listener, failures)
                )
                seconds = time.perf_counter() - started
                outcome = Outcome(planned, state, seconds, 1, LOCAL_WORKER, kept, error)
                listener.ended(outcome)
                yield outcome

    def _execute_one(
        self,
        planned: PlannedRun,
        store: Store,
        listener: SweepListener,
        failures: FailuresMeanwhile,
    ) -> tuple[State, int | None, AcdcError | None]:
        """Return state, number of edges kept, and error of a run."""
        try:
            if store.has(planned.run_id):
                return "present", None, None
        except NewerRun as error:
            return "failed", None, _record_failure(store, planned, error)
        if (failed := failures.of(planned.run_id)) is not None:
            return "failed", None, failed.error()
        if self._worker is None:
            self._worker = self.make()
        progress = _WorkerProgress(listener)
        checkpoint = StoreCheckpoint(store, planned.run_id, self.checkpoint)
        try:
            record = execute_in_memory(
                self._worker, planned.run, planned.task, progress, checkpoint, listener.waiting
            )
        except Exception as error:  # noqa: BLE001  (a bug met by one run must not end the others)
            if not isinstance(error, AcdcError):
                self._worker = None
            return "failed", None, _record_failure(store, planned, error)
        state: State = "committed" if store.commit(record) else "present"
        return state, None if record.circuit is None else len(record.circuit), None


def _record_failure(store: Store, planned: PlannedRun, error: Exception) -> AcdcError:
    failure = failure_of(planned.run, error, worker=LOCAL_WORKER)
    store.record_failure(failure)
    return failure.error()


class _WorkerProgress(Progress):
    """Passes the progress of a search on to a sweep listener."""

    def __init__(self, listener: SweepListener) -> None:
        self._listener = listener

    def start(self, total_edges: int, label: str) -> None:
        self._listener.advanced(LOCAL_WORKER, 0, 0, total_edges)

    def advance(self, tested: int, kept: int, left: int) -> None:
        self._listener.advanced(LOCAL_WORKER, tested, kept, left)
