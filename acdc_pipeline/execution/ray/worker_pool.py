"""The workers of a sweep: started, polled, replaced when they die, terminated at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, remove_placement_group

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.execution.ray.actor import (
    CONTROL,
    Position,
    RunActor,
    RunResult,
    Settings,
    WorkerInfo,
)
from acdc_pipeline.execution.ray.cluster import actor_options, node_resources, resources_of
from acdc_pipeline.execution.ray.failures import (
    NEVER_STARTS,
    WORKER_LOST,
    cannot_start,
    describe_failure,
    start_error,
)
from acdc_pipeline.execution.ray.shards import place_in, reserve
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import TaskSpec, WorkerProfile
from acdc_pipeline.store.failure import failure_of

# Seconds between two attempts to start workers after one died while starting.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

_Method = Literal["ready", "execute", "position"]


@dataclass(frozen=True)
class Attempt:
    """An attempt at a run, which is over."""

    planned: PlannedRun
    number: int
    seconds: float


@dataclass(eq=False)
class PooledWorker:
    """A worker process as the driver knows it.

    Args:
        name: host and process id; empty until it is ready.
        node_id: node; empty until it is ready.
        planned: the run it executes, None while it is idle.
        since: when it was assigned that run, in seconds of a monotonic clock.
        polled: whether a request for its position is pending.
        group: the places of its shards; None if it has none.
    """

    actor: Any
    name: str = ""
    node_id: str = ""
    planned: PlannedRun | None = None
    attempt: int = 0
    since: float = 0.0
    polled: bool = False
    group: PlacementGroup | None = None

    def end_attempt(self) -> Attempt:
        """Make the worker idle. Returns the attempt it was executing."""
        assert self.planned is not None
        attempt = Attempt(self.planned, self.attempt, time.monotonic() - self.since)
        self.planned = None
        return attempt


@dataclass(frozen=True)
class RunEnded:
    """A run is over, with or without an error; the worker is idle."""

    worker: PooledWorker
    attempt: Attempt
    result: RunResult


@dataclass(frozen=True)
class PositionReported:
    """A worker reported its position in the run `run_id`, and messages."""

    worker: PooledWorker
    run_id: str
    position: Position
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkerLost:
    """A worker died, with the attempt it was executing if any, or could not start.

    Args:
        out_of_memory: whether Ray ended it because the memory of its node ran out.
    """

    worker: PooledWorker
    attempt: Attempt | None
    reason: str
    out_of_memory: bool = False


Event = RunEnded | PositionReported | WorkerLost


class WorkerPool:
    """Workers that are starting, idle or busy."""

    def __init__(self, profile: WorkerProfile, settings: Settings) -> None:
        options: dict[str, Any] = {
            **actor_options(resources_of(profile)),
            "concurrency_groups": {CONTROL: 1},
            "runtime_env": dict(profile.runtime_env) or None,
        }
        self._actor_class: Any = ray.remote(**options)(RunActor)
        self._settings = settings
        self._profile = profile
        self._max_workers = profile.actors
        self._calls: dict[ray.ObjectRef, tuple[_Method, PooledWorker]] = {}
        self._starting: set[PooledWorker] = set()
        self._workers: dict[str, PooledWorker] = {}
        self._tasks: dict[int, tuple[TaskSpec, ray.ObjectRef]] = {}
        self._pause, self._not_before = 0.0, 0.0
        self._last_seen = time.monotonic()
        self.start_error: AcdcError | None = None
        """Why the last worker did not start."""

    @property
    def idle(self) -> list[PooledWorker]:
        return [worker for worker in self._workers.values() if worker.planned is None]

    @property
    def busy(self) -> list[PooledWorker]:
        return [worker for worker in self._workers.values() if worker.planned is not None]

    @property
    def starting(self) -> int:
        """The number of workers that have not started, for which there may be no room."""
        return len(self._starting)

    @property
    def exhausted(self) -> bool:
        """Whether there is no worker and none can be started any more."""
        return self._max_workers == 0 and not self._workers and not self._starting

    @property
    def seconds_without_worker(self) -> float:
        """Time since the last worker was lost; 0 while there is one."""
        if self._workers:
            self._last_seen = time.monotonic()
        return time.monotonic() - self._last_seen

    def start_workers(self, wanted: int) -> int:
        """Start workers until `wanted` exist or are starting. Returns how many were started."""
        missing = min(wanted, self._max_workers) - len(self._workers) - len(self._starting)
        if missing <= 0 or time.monotonic() < self._not_before:
            return 0
        self._settings.probe.write()
        for _ in range(missing):
            group = reserve(self._profile, node_resources())
            place = {} if group is None else {"scheduling_strategy": place_in(group, 0)}
            actor = self._actor_class.options(**place).remote(self._settings)
            worker = PooledWorker(actor, group=group)
            self._starting.add(worker)
            self._calls[worker.actor.ready.remote()] = "ready", worker
        return missing

    def assign(
        self,
        worker: PooledWorker,
        planned: PlannedRun,
        attempt: int,
        retries: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """Make an idle worker execute a run; for `retries` see `RunActor.execute`."""
        worker.planned, worker.attempt, worker.since = planned, attempt, time.monotonic()
        # A file of pairs may have megabytes: it travels to a node once, not with every run.
        if id(planned.task) not in self._tasks:
            self._tasks[id(planned.task)] = planned.task, ray.put(planned.task)
        task = self._tasks[id(planned.task)][1]
        ref = worker.actor.execute.remote(planned.run, [task], attempt, list(retries))
        self._calls[ref] = "execute", worker

    def poll_positions(self) -> None:
        """Request the position of every busy worker that has no request pending."""
        for worker in self.busy:
            if not worker.polled:
                worker.polled = True
                ref = worker.actor.position.options(concurrency_group=CONTROL).remote()
                self._calls[ref] = "position", worker

    def wait(self, seconds: float) -> Event | None:
        """Return the next event; None after `seconds`, or when a worker became ready."""
        if not self._calls:
            time.sleep(seconds)
            return None
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        return self._event(done[0]) if done else None

    def terminate(self, worker: PooledWorker) -> None:
        self._workers.pop(worker.name, None)
        self._starting.discard(worker)
        for ref in [ref for ref, (_, caller) in self._calls.items() if caller is worker]:
            del self._calls[ref]
        ray.kill(worker.actor)
        if worker.group is not None:
            remove_placement_group(worker.group)

    def cancel_runs(self, seconds: float) -> Iterator[Event]:
        """Cancel all runs between two steps; yields events until they end, for up to `seconds`."""
        for worker in self.busy:
            worker.actor.cancel.options(concurrency_group=CONTROL).remote()
        deadline = time.monotonic() + seconds
        while self.busy and (left := deadline - time.monotonic()) > 0:
            if (event := self.wait(left)) is not None:
                yield event

    def close(self) -> None:
        for worker in [*self._workers.values(), *self._starting]:
            self.terminate(worker)
        self._settings.probe.remove()

    def _event(self, ref: ray.ObjectRef) -> Event | None:
        method, worker = self._calls.pop(ref)
        try:
            answer = ray.get(ref)
        except WORKER_LOST as error:
            if isinstance(error, RayActorError) and error.actor_init_failed:
                return self._give_up_on(worker, cannot_start(describe_failure(error)))
            event = self._lose(worker, describe_failure(error))
            return replace(event, out_of_memory=isinstance(error, OutOfMemoryError))
        except NEVER_STARTS as error:
            return self._give_up_on(worker, cannot_start(describe_failure(error)))
        except RayTaskError as error:
            if method == "ready":
                return self._give_up_on(worker, start_error(error))
            # Errors of a run are returned by the actor; this one was raised on the way to it.
            attempt = worker.end_attempt()
            failure = failure_of(
                attempt.planned.run, error.cause, worker=worker.name, attempts=attempt.number
            )
            return RunEnded(worker, attempt, failure)
        if method == "ready":
            return self._add(worker, answer)
        if method == "position":
            worker.polled = False
            return PositionReported(worker, *answer)
        return RunEnded(worker, worker.end_attempt(), answer)

    def _add(self, worker: PooledWorker, info: WorkerInfo) -> WorkerLost | None:
        if info.version != acdc_pipeline.__version__:
            versions = f"it has acdc-pipeline {info.version}, not {acdc_pipeline.__version__}"
            return self._give_up_on(worker, cannot_start(versions))
        self._starting.discard(worker)
        worker.name, worker.node_id = info.name, info.node_id
        self._workers[worker.name] = worker
        self._pause = 0.0
        return None

    def _give_up_on(self, worker: PooledWorker, error: AcdcError) -> WorkerLost:
        """Remove a worker that cannot start; no other one is started in its place."""
        self.start_error = error
        self._max_workers -= 1
        self.terminate(worker)
        return WorkerLost(worker, None, error.problem)

    def _lose(self, worker: PooledWorker, reason: str) -> WorkerLost:
        if worker in self._starting:
            self.start_error = ExecutionFailed(f"a worker died while it started: {reason}")
            # Workers that were started together and die together count once.
            if time.monotonic() >= self._not_before:
                self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
                self._not_before = time.monotonic() + self._pause
        attempt = worker.end_attempt() if worker.planned is not None else None
        # An unreachable process may be alive: it must not go on while the run is tried elsewhere.
        self.terminate(worker)
        return WorkerLost(worker, attempt, reason)
