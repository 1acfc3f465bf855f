"""The worker process: executes runs, commits them, and reports its progress when polled."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import getpid
from typing import Literal

import ray

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, NewerRun, StoreError
from acdc_pipeline.execution.checkpoint import StoreCheckpoint
from acdc_pipeline.execution.out_of_memory import execute_in_memory
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.run_worker import ReducesMemory, RunWorker
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunFailure
from acdc_pipeline.store.failure import failure_of
from acdc_pipeline.store.probe import StoreProbe

CONTROL = "control"
"""Concurrency group of the methods that answer while a run is being executed."""

Position = tuple[int, int, int]
"""Edges tested, kept, and possibly left to test."""


@dataclass(frozen=True)
class Allotment:
    """The part of its machine that a worker process may use.

    Args:
        share: fraction of the device, above 0 and at most 1.
        shards: number of processes, this one included, that runs are spread over; None for none.
        resources: those that Ray reserves for each of them.
        report: receives messages for the driver.
    """

    device: str
    memory: int | None
    threads: int
    share: float
    shards: int | None = None
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})
    report: Callable[[str], None] = lambda message: None


WorkerFactory = Callable[[Allotment], RunWorker]
"""Creates what executes runs, in the worker process. It is pickled by name: a module's function."""


@dataclass(frozen=True)
class Settings:
    """Settings of all workers of a sweep.

    Args:
        probe: file in the store of the sweep that every worker must see; it holds the store.
        device: `auto` takes the GPU that Ray reserved, else the CPU.
        memory: byte budget of a search; None means a share of the free memory.
        resources: those that Ray reserves for each worker.
        shards: see `Allotment`.
    """

    probe: StoreProbe
    device: str
    memory: int | None
    resources: Mapping[str, float]
    checkpoint: float
    factory: WorkerFactory
    shards: int | None = None


@dataclass(frozen=True)
class WorkerInfo:
    """Node, name and package version of a worker that is ready."""

    node_id: str
    name: str
    version: str


@dataclass(frozen=True)
class Finished:
    """The result of a run that did not fail, with the reasons of attempts in its process."""

    state: Literal["committed", "present"]
    edges_kept: int | None
    tested: int
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cancelled:
    """The run was cancelled between two steps; the store has nothing of it."""


@dataclass(frozen=True)
class StoreBroke:
    """The store failed: it does not take this run and will not take the next."""

    error: StoreError


RunResult = Finished | Cancelled | RunFailure | StoreBroke


class RunCancelled(Exception):
    """The driver cancelled the run: it ends between two steps and is not committed."""


class SharedProgress(Progress):
    """The progress of a search, readable and cancellable from another thread.

    The driver polls the last position: a search makes thousands of decisions per second, and none
    of them should wait for a message. The position is replaced as a whole, so that no lock is
    needed.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._run_id = ""
        self._position: tuple[str, Position] = ("", (0, 0, 0))

    @property
    def position(self) -> tuple[str, Position]:
        """The id of the current run, and its position at the last decision."""
        return self._position

    @property
    def tested(self) -> int:
        return self._position[1][0]

    def cancel(self) -> None:
        self._cancelled.set()

    def begin(self, run_id: str) -> None:
        self._run_id = run_id
        self._position = run_id, (0, 0, 0)

    def start(self, total_edges: int, label: str) -> None:
        self._record((0, 0, total_edges))

    def advance(self, tested: int, kept: int, left: int) -> None:
        self._record((tested, kept, left))

    def _record(self, position: Position) -> None:
        self._position = self._run_id, position
        if self._cancelled.is_set():
            raise RunCancelled


class RunActor:
    """The Ray actor. `execute` computes in one thread; `position` and `cancel` use another.

    Ray neither restarts it nor repeats a call; the driver decides what to do when it dies.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._progress = SharedProgress()
        self._worker: RunWorker | None = None
        self._messages: deque[str] = deque()
        self._task: tuple[ray.ObjectRef, TaskSpec] | None = None
        self._name = f"{socket.gethostname()}:{getpid()}"

    def ready(self) -> WorkerInfo:
        """Prepare for the first run.

        Raises:
            StoreError: this process does not see the store of the sweep.
        """
        self._settings.probe.check_visible(socket.gethostname())
        self._ready_worker()
        return WorkerInfo(_node_id(), self._name, acdc_pipeline.__version__)

    def execute(
        self,
        run: RunSpec,
        task: list[ray.ObjectRef],
        attempt: int,
        retries: Sequence[Mapping[str, object]] = (),
    ) -> RunResult:
        """Execute a run and commit it, unless the store has it.

        Args:
            retries: what the record is to say of earlier attempts whose memory ran out. The last
                one may have `halvings` of the byte budget, for this attempt and later runs.
        """
        self._progress.begin(run.run_id())
        if self._task is None or self._task[0] != task[0]:
            self._task = task[0], ray.get(task[0])
        planned = PlannedRun(run, self._task[1])
        try:
            return self._execute(planned, retries)
        except RunCancelled:
            return Cancelled()
        except Exception as error:  # noqa: BLE001  (a bug met by one run must not end the others)
            if not isinstance(error, AcdcError):
                self._worker = None  # its state after an unexpected error is unknown
            return failure_of(run, error, worker=self._name, attempts=attempt)

    def position(self) -> tuple[str, Position, tuple[str, ...]]:
        """Return the id of the current run, its edges tested, kept and possibly left, and news."""
        return *self._progress.position, self._news()

    def cancel(self) -> None:
        """End the current run at its next step, and every later run at its first."""
        self._progress.cancel()

    def _ready_worker(self) -> RunWorker:
        if self._worker is None:
            allotment = _allotment(self._settings, self._messages.append)
            self._worker = self._settings.factory(allotment)
        return self._worker

    def _news(self) -> tuple[str, ...]:
        """Return the messages that the driver has not received."""
        return tuple(self._messages.popleft() for _ in range(len(self._messages)))

    def _execute(
        self, planned: PlannedRun, retries: Sequence[Mapping[str, object]]
    ) -> Finished | StoreBroke:
        store = self._settings.probe.store
        try:
            if store.has(planned.run_id):
                return Finished("present", None, 0)
        except NewerRun:
            raise
        except StoreError as error:
            return StoreBroke(error)
        worker = self._ready_worker()
        checkpoint = StoreCheckpoint(store, planned.run_id, self._settings.checkpoint)
        halvings = retries[-1].get("halvings", 0) if retries else 0
        assert isinstance(halvings, int)
        if isinstance(worker, ReducesMemory) and halvings > worker.halvings:
            worker.reduce_memory(halvings)
        record = execute_in_memory(
            worker,
            planned.run,
            planned.task,
            self._progress,
            checkpoint,
            self._messages.append,
            retries,
        )
        try:
            state = "committed" if store.commit(record) else "present"
        except StoreError as error:
            return StoreBroke(error)
        kept = None if record.circuit is None else len(record.circuit)
        return Finished(state, kept, self._progress.tested, self._news())


def make_worker(allotment: Allotment) -> RunWorker:
    """Create the worker that executes real runs.

    All workers of a machine start with the same free memory: where the profile gives no budget,
    each takes its share of the budget of a single worker.
    """
    import torch

    from acdc_pipeline.execution.environment import default_budget
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.models.device import resolve_devices

    torch.set_num_threads(allotment.threads)
    memory = allotment.memory
    if memory is None:
        memory = int(default_budget(resolve_devices(allotment.device)[0]) * allotment.share)
    worker = Worker(device=allotment.device, memory=memory, shares=True)
    if allotment.shards is None:
        return worker
    from acdc_pipeline.execution.ray.shards import spread_over_actors

    return spread_over_actors(
        worker,
        allotment.shards,
        resources=allotment.resources,
        threads=allotment.threads,
        device=allotment.device,
        report=allotment.report,
    )


def _allotment(settings: Settings, report: Callable[[str], None]) -> Allotment:
    has_gpu = bool(ray.get_gpu_ids())
    device = settings.device
    if device == "auto":
        # With a GPU reserved, Ray hides all others; without one, all are visible.
        device = "cuda" if has_gpu else "cpu"
    cpus, gpus = settings.resources["CPU"], settings.resources.get("GPU", 0.0)
    all_cpus = next(n["Resources"]["CPU"] for n in ray.nodes() if n["NodeID"] == _node_id())
    return Allotment(
        device=device,
        memory=settings.memory,
        threads=max(1, int(cpus)),
        share=min(1.0, gpus if has_gpu else cpus / all_cpus),
        shards=settings.shards,
        resources=settings.resources,
        report=report,
    )


def _node_id() -> str:
    return ray.get_runtime_context().get_node_id()
