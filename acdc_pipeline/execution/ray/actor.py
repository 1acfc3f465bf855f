"""A worker process: it executes runs, commits them itself, and can be asked how far it is."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from os import getpid
from typing import Literal

import ray

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, NewerRun, StoreError
from acdc_pipeline.execution.cause import failure_of
from acdc_pipeline.execution.checkpoint import StoreCheckpoint
from acdc_pipeline.execution.executor import RunsOne
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray.allotment import Allotment, WorkerFactory
from acdc_pipeline.execution.ray.heartbeat import Cancelled, Heartbeat, Position
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunFailure, Store
from acdc_pipeline.store.probe import StoreProbe

TALK = "talk"
"""The thread that answers while another computes; what it shall answer is called in its group."""


@dataclass(frozen=True)
class Settings:
    """What every worker of a sweep is told when it starts.

    Args:
        probe: file in the store of the sweep, which every worker must see; it holds the store.
        device: `auto` takes the GPU that Ray gave, else the CPU.
        memory: byte budget of a search, None for a share of what is free.
        cpus, gpus: what Ray reserved for it.
        checkpoint: seconds between two checkpoints of a long run.
        factory: makes what executes runs.
    """

    probe: StoreProbe
    device: str
    memory: int | None
    cpus: float
    gpus: float
    checkpoint: float
    factory: WorkerFactory

    @property
    def store(self) -> Store:
        """Where runs are committed."""
        return self.probe.store


@dataclass(frozen=True)
class Greeting:
    """Who and where a worker is, once it can work."""

    node_id: str
    name: str
    version: str


@dataclass(frozen=True)
class Finished:
    """How a run ended that did not fail.

    Args:
        state: whether this worker committed it, or found it in the store.
        edges_kept: size of the circuit; None where none was found here.
        tested: how many edges were tested.
    """

    state: Literal["committed", "present"]
    edges_kept: int | None
    tested: int


@dataclass(frozen=True)
class Stopped:
    """The run was cancelled between two steps; the store has nothing of it."""


@dataclass(frozen=True)
class StoreBroke:
    """The run may be as good as any, but the store does not take it, nor will it take the next."""

    error: StoreError


Answer = Finished | Stopped | RunFailure | StoreBroke


class RunActor:
    """The Ray actor. `execute` computes in one thread; `position` and `cancel` use another.

    Ray neither restarts it nor repeats a call: what is done about its death, the driver decides.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heartbeat = Heartbeat()
        self._runs_one: RunsOne | None = None
        self._task: tuple[ray.ObjectRef, TaskSpec] | None = None
        self._name = f"{socket.gethostname()}:{getpid()}"

    def ready(self) -> Greeting:
        """Gets ready for the first run.

        Raises:
            StoreError: this process does not see the sweep's store.
        """
        self._settings.probe.check_visible(socket.gethostname())
        self._worker()
        return Greeting(_node_id(), self._name, acdc_pipeline.__version__)

    def execute(self, run: RunSpec, task: list[ray.ObjectRef], attempt: int) -> Answer:
        """Executes one run and commits it, unless the store has it.

        Args:
            run: what to do.
            task: the task it belongs to; runs that share it share the reference.
            attempt: counts from 1.
        """
        self._heartbeat.begin(run.run_id())
        planned = PlannedRun(run, self._fetched(task[0]))
        try:
            return self._executed(planned)
        except Cancelled:
            return Stopped()
        except AcdcError as error:
            return failure_of(planned, error, worker=self._name, attempts=attempt)
        except Exception as error:  # noqa: BLE001  (a bug met by one run is no reason to lose the rest)
            # What such an error leaves behind in the worker, nobody knows.
            self._runs_one = None
            return failure_of(planned, error, worker=self._name, attempts=attempt)

    def position(self) -> tuple[str, Position]:
        """Which run is being executed, and its edges tested, kept and possibly left."""
        return self._heartbeat.position

    def cancel(self) -> None:
        """The run being executed ends at its next step, and none begins after it."""
        self._heartbeat.stop()

    def _executed(self, planned: PlannedRun) -> Finished | StoreBroke:
        store, heartbeat = self._settings.store, self._heartbeat
        try:
            if store.has(planned.run_id):
                return Finished("present", None, 0)
        except NewerRun:
            raise
        except StoreError as error:
            return StoreBroke(error)
        checkpoint = StoreCheckpoint(store, planned.run_id, self._settings.checkpoint)
        record = self._worker().execute(planned.run, planned.task, heartbeat, checkpoint)
        try:
            state = "committed" if store.commit(record) else "present"
        except StoreError as error:
            return StoreBroke(error)
        kept = None if record.circuit is None else len(record.circuit)
        return Finished(state, kept, heartbeat.tested)

    def _worker(self) -> RunsOne:
        if self._runs_one is None:
            self._runs_one = self._settings.factory(_allotment(self._settings))
        return self._runs_one

    def _fetched(self, ref: ray.ObjectRef) -> TaskSpec:
        if self._task is None or self._task[0] != ref:
            self._task = ref, ray.get(ref)
        return self._task[1]


def _allotment(settings: Settings) -> Allotment:
    has_gpu = bool(ray.get_gpu_ids())
    device = settings.device
    if device == "auto":
        # Ray made the GPU it gave the only one that is visible; without one, others' are visible.
        device = "cuda" if has_gpu else "cpu"
    return Allotment(
        device=device,
        memory=settings.memory,
        threads=max(1, int(settings.cpus)),
        share=min(1.0, settings.gpus if has_gpu else settings.cpus / _cpus_here()),
    )


def _cpus_here() -> float:
    return next(n["Resources"]["CPU"] for n in ray.nodes() if n["NodeID"] == _node_id())


def _node_id() -> str:
    return ray.get_runtime_context().get_node_id()
