"""The driver's loop: which worker gets which run, which runs are retried, which have failed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from acdc_pipeline.errors import AcdcError, ExecutionFailed, OutOfMemoryBudget
from acdc_pipeline.execution.out_of_memory import CAUSE, MAX_HALVINGS
from acdc_pipeline.execution.progress import SweepListener
from acdc_pipeline.execution.ray.actor import Cancelled, Finished, StoreBroke
from acdc_pipeline.execution.ray.cluster import draining_nodes
from acdc_pipeline.execution.ray.metrics import SweepMetrics
from acdc_pipeline.execution.ray.queue import RunQueue
from acdc_pipeline.execution.ray.worker_pool import (
    Attempt,
    Event,
    PooledWorker,
    PositionReported,
    RunEnded,
    WorkerLost,
    WorkerPool,
)
from acdc_pipeline.execution.runs import Outcome, PlannedRun, State
from acdc_pipeline.execution.shared_runs import FailuresMeanwhile
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import RunFailure, Store
from acdc_pipeline.store.claims import Claims
from acdc_pipeline.store.failure import failure_of

# Seconds between two polls of the workers' positions and of the nodes that are being drained.
POLL_INTERVAL = 1.0

# Seconds between two messages that there is no worker.
MESSAGE_INTERVAL = 30.0

# Seconds for a cancelled run to reach its next step; loading a model has none.
CANCEL_TIMEOUT = 10.0


Retry = dict[str, object]
"""What a record says of another attempt at a run whose memory ran out."""


@dataclass
class _History:
    """The attempts at a run so far.

    Args:
        halvings: how often its byte budget is halved, because a worker was ended for its memory.
    """

    attempts: int = 0
    seconds: float = 0.0
    tested: int = 0
    halvings: int = 0


class Dispatcher:
    """Executes the runs of one sweep on a worker pool.

    Args:
        store: store of failures; the workers commit to it themselves.
        claims: claims of this driver, which shares the runs with others of the same store.
        worker_timeout: seconds without any worker after which to fail.
        retries: by run id, what records are to say of earlier attempts whose memory ran out.

    Attributes:
        too_large: runs that no worker of a profile with larger ones has the memory for.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        store: Store,
        claims: Claims,
        listener: SweepListener,
        pool: WorkerPool,
        profile: WorkerProfile,
        worker_timeout: float,
        retries: dict[str, list[Retry]],
    ) -> None:
        self._queue = RunQueue({run.run_id: run for run in runs}.values())
        self._store = store
        self._claims = claims
        self._failures = FailuresMeanwhile(store, runs)
        self._elsewhere: dict[str, PlannedRun] = {}
        self._listener = listener
        self._pool = pool
        self._profile = profile
        self._worker_timeout = worker_timeout
        self._metrics = SweepMetrics(time.monotonic)
        self._histories: dict[str, _History] = {}
        self._retries = retries
        self.too_large: list[PlannedRun] = []
        self._reported_workers: int | None = None
        self._starting_since = time.monotonic()
        self._loaded: dict[str, tuple[str, str, str]] = {}
        self._draining: frozenset[str] = frozenset()
        self._next_poll = time.monotonic()
        self._next_message = MESSAGE_INTERVAL

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield the outcome of every run. Closing it cancels the current runs and waits for them.

        Raises:
            ExecutionFailed: no worker can be started, or there was none for `worker_timeout`.
            StoreError: the store cannot be written.
        """
        try:
            self._claims.others()
            while self._queue or self._pool.busy or self._elsewhere:
                self._assign_runs()
                self._start_workers()
                self._check_workers()
                event = self._pool.wait(max(0.0, self._next_poll - time.monotonic()))
                if event is not None and (outcome := self._handle(event)) is not None:
                    yield outcome
                if time.monotonic() >= self._next_poll:
                    self._poll()
                    yield from self._look_elsewhere()
            self._metrics.publish(0)
        finally:
            for event in self._pool.cancel_runs(CANCEL_TIMEOUT):
                if isinstance(event, RunEnded) and not isinstance(event.result, StoreBroke):
                    self._end_run(event)

    def _assign_runs(self) -> None:
        for worker in self._pool.idle:
            if worker.node_id in self._draining:
                self._handle_lost(WorkerLost(worker, None, "its node is being drained"))
                self._pool.terminate(worker)
            elif (planned := self._claim_run(worker.name)) is not None:
                history = self._histories.setdefault(planned.run_id, _History())
                history.attempts += 1
                history.tested = 0
                if self._loaded.get(worker.name) != planned.model:
                    self._loaded[worker.name] = planned.model
                    self._metrics.model_loads.inc()
                retries = self._retries.get(planned.run_id, ())
                self._pool.assign(worker, planned, history.attempts, retries)
                self._listener.started(worker.name, planned, history.attempts)

    def _claim_run(self, worker: str) -> PlannedRun | None:
        """Return the next run for a worker; those that other drivers execute are set aside."""
        while (planned := self._queue.take(worker)) is not None:
            if self._claims.take(planned.run_id):
                return planned
            self._elsewhere[planned.run_id] = planned
        return None

    def _look_elsewhere(self) -> Iterator[Outcome]:
        """Queue the runs again that no other driver executes any more; yield failures of others."""
        if not self._elsewhere:
            return
        for run_id in self._elsewhere.keys() - self._claims.others():
            planned = self._elsewhere.pop(run_id)
            failure = self._failures.of(run_id)
            if failure is None:
                self._queue.put_back(planned)
                continue
            error = failure.error()
            outcome = Outcome(planned, "failed", 0.0, failure.attempts, failure.worker, None, error)
            self._metrics.count_outcome("failed")
            self._listener.ended(outcome)
            yield outcome

    def _start_workers(self) -> None:
        unfinished = len(self._queue) + len(self._pool.busy)
        if started := self._pool.start_workers(unfinished):
            self._listener.waiting(f"starting {started} worker" + ("s" if started > 1 else ""))

    def _check_workers(self) -> None:
        error = self._pool.start_error
        if self._pool.exhausted:
            raise error or ExecutionFailed("no worker can be started")
        seconds = self._pool.seconds_without_worker
        if seconds > self._worker_timeout:
            raise ExecutionFailed(
                f"no worker for {self._worker_timeout:g} seconds"
                + (f"; {error.problem}" if error else ""),
                where="the Ray cluster",
                fix="look at 'ray status', and run the command again: what is committed stays",
            )
        if seconds < MESSAGE_INTERVAL:
            self._next_message = MESSAGE_INTERVAL
        elif seconds >= self._next_message:
            self._listener.waiting(f"no worker for {seconds:.0f} s; 'ray status' says why")
            self._next_message += MESSAGE_INTERVAL

    def _report_workers(self) -> None:
        """Say how many workers run while others have no room, and when these start."""
        starting = self._pool.starting
        running = len(self._pool.idle) + len(self._pool.busy)
        if not starting and self._reported_workers is None:
            self._starting_since = time.monotonic()
            return
        late = time.monotonic() - self._starting_since >= MESSAGE_INTERVAL
        if running and late and running != self._reported_workers:
            others = "; the others wait for room, 'ray status' says why" if starting else ""
            self._listener.waiting(f"{running} of {running + starting} workers run{others}")
            self._reported_workers = running if starting else None

    def _poll(self) -> None:
        self._next_poll = time.monotonic() + POLL_INTERVAL
        self._pool.poll_positions()
        self._report_workers()
        self._metrics.publish(len(self._queue))
        self._draining = draining_nodes()

    def _handle(self, event: Event) -> Outcome | None:
        match event:
            case PositionReported(worker, run_id, position, messages):
                for message in messages:
                    self._listener.waiting(message)
                if worker.planned is not None and worker.planned.run_id == run_id:
                    self._count_edges(run_id, position[0])
                    self._listener.advanced(worker.name, *position)
                return None
            case WorkerLost():
                return self._handle_lost(event)
            case RunEnded():
                return self._end_run(event)
            case _:
                assert_never(event)

    def _count_edges(self, run_id: str, tested: int) -> None:
        history = self._histories[run_id]
        self._metrics.count_edges(tested - history.tested)
        history.tested = tested

    def _end_run(self, event: RunEnded) -> Outcome | None:
        worker, attempt = event.worker, event.attempt
        match event.result:
            case StoreBroke(error):
                raise error
            case RunFailure() as failure:
                if failure.traceback:
                    self._reset(worker, failure)
                return self._fail(attempt, failure)
            case Finished(state, kept, tested, messages):
                for message in messages:
                    self._listener.waiting(message)
                self._count_edges(attempt.planned.run_id, tested)
                return self._finish(attempt, state, worker.name, kept)
            case Cancelled():
                return None
            case _:
                assert_never(event.result)

    def _reset(self, worker: PooledWorker, failure: RunFailure) -> None:
        """Note that after an unexpected error the worker has nothing loaded any more."""
        self._queue.forget(worker.name)
        self._loaded.pop(worker.name, None)
        # An error of CUDA persists in its process: every later run would fail too.
        if "CUDA" in failure.problem:
            self._pool.terminate(worker)

    def _handle_lost(self, event: WorkerLost) -> Outcome | None:
        name, attempt = event.worker.name or "a worker that was starting", event.attempt
        self._queue.forget(name)
        self._loaded.pop(name, None)
        self._metrics.lost_workers.inc()
        self._listener.lost(name, attempt.planned if attempt else None, event.reason)
        if attempt is None:
            return None
        planned = attempt.planned
        if self._store.has(planned.run_id):
            # It died between its commit and its answer.
            circuit = self._store.get(planned.run_id).circuit
            kept = None if circuit is None else len(circuit)
            return self._finish(attempt, "committed", name, kept)
        if event.out_of_memory:
            return self._retry_with_less(attempt, name, event.reason)
        if attempt.number - self._histories[planned.run_id].halvings < self._profile.attempts:
            self._histories[planned.run_id].seconds += attempt.seconds
            self._queue.put_back(planned)
            return None
        times = "once" if attempt.number == 1 else f"{attempt.number} times"
        error = ExecutionFailed(
            f"its worker died {times}; the last time: {event.reason}",
            where=str(planned),
            fix="look for memory that runs out on the nodes, and at 'ray logs'; more attempts are "
            "allowed by 'attempts' of the worker profile",
        )
        failure = failure_of(planned.run, error, worker=name, attempts=attempt.number)
        return self._fail(attempt, failure)

    def _retry_with_less(self, attempt: Attempt, worker: str, reason: str) -> Outcome | None:
        """Queue a run again with half of its byte budget, whose worker Ray ended for its memory."""
        planned, history = attempt.planned, self._histories[attempt.planned.run_id]
        if history.halvings == MAX_HALVINGS:
            error = OutOfMemoryBudget(
                f"the memory of its node ran out {attempt.number} times, the last with "
                f"1/{2**MAX_HALVINGS} of the budget: {reason}",
                where=str(planned),
                fix="use fewer prompts, or more memory for each worker ('larger' of the profile "
                "says what such runs get)",
            )
            failure = failure_of(planned.run, error, worker=worker, attempts=attempt.number)
            return self._fail(attempt, failure)
        history.halvings += 1
        history.seconds += attempt.seconds
        retry: Retry = {"cause": f"{CAUSE}, worker ended", "halvings": history.halvings}
        if self._profile.memory is not None:
            retry["memory"] = self._profile.memory >> history.halvings
        self._retries.setdefault(planned.run_id, []).append(retry)
        self._listener.waiting(
            f"the memory of a node ran out for {planned}: again with 1/{2**history.halvings} of "
            "the budget"
        )
        self._queue.put_back(planned)
        return None

    def _fail(self, attempt: Attempt, failure: RunFailure) -> Outcome | None:
        planned = attempt.planned
        if self._profile.larger is not None and failure.kind == OutOfMemoryBudget.__name__:
            self._claims.release(planned.run_id)
            del self._histories[planned.run_id]
            self.too_large.append(planned)
            self._listener.waiting(
                f"memory ran out for {planned}: again on larger workers, after the other runs"
            )
            return None
        self._store.record_failure(failure)
        return self._finish(attempt, "failed", failure.worker, None, failure.error())

    def _finish(
        self,
        attempt: Attempt,
        state: State,
        worker: str,
        kept: int | None,
        error: AcdcError | None = None,
    ) -> Outcome:
        """Report the outcome of a run to metrics and listener, and return it."""
        self._claims.release(attempt.planned.run_id)
        history = self._histories.pop(attempt.planned.run_id)
        seconds = history.seconds + attempt.seconds
        outcome = Outcome(attempt.planned, state, seconds, history.attempts, worker, kept, error)
        self._metrics.count_outcome(state)
        self._listener.ended(outcome)
        return outcome
