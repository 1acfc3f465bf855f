"""Exact ACDC over workers of which one is killed on the way: the bytes have to be the same.

`python -m benchmarks.shards --only killed [--ray]`. The first search, over one worker that lives,
is what the others are compared with.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from acdc_pipeline.execution.out_of_memory import LOST_WORKERS
from acdc_pipeline.execution.progress import Silent, SilentSweep
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.execution.shards.local import local_sharded_worker
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, TaskSpec, WorkerProfile
from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.store.codec import encode
from benchmarks.case import Case
from benchmarks.shard_case import MEMORY, plan_acdc, worker_processes


class Killer:
    """Kills one process, at the first of its calls by which so many edges are tested.

    Args:
        processes: returns those of the workers.
    """

    def __init__(self, processes: Callable[[], list[psutil.Process]], at: int | None) -> None:
        self._processes, self.at = processes, at
        self.killed: int | None = None

    def look(self, tested: int) -> None:
        """Kill the last worker if it is time."""
        if self.at is None or self.killed is not None or tested < self.at:
            return
        if found := self._processes():
            os.kill(found[-1].pid, signal.SIGKILL)
            self.killed = tested


class KillingWatch(Silent):
    """Measures the seconds of a search over processes and kills one of them."""

    def __init__(self, at: int | None) -> None:
        self.killer = Killer(worker_processes, at)

    def start(self, total_edges: int, label: str) -> None:
        self._began = time.perf_counter()

    def advance(self, tested: int, kept: int, left: int) -> None:
        self.killer.look(tested)

    def finish(self) -> None:
        self.seconds = time.perf_counter() - self._began


class KillingListener(SilentSweep):
    """Kills one of the actors of a run."""

    def __init__(self, at: int) -> None:
        self.killer = Killer(_shard_actors, at)

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        self.killer.look(tested)


def search_with_losses(
    case: Case, threshold: float, counts: list[int], folder: Path, *, ray: bool
) -> bool:
    """Search over each number of workers, print what happened; return whether all bytes agree."""
    run, task = plan_acdc(case, threshold, folder)
    expected, seconds, _ = _over_processes(run, task, 1, None)
    tested = len(expected.decisions)
    print(f"{tested:,} decisions, {len(expected.circuit or ()):,} edges kept")
    print(f"{'workers':>20}{'seconds':>9}{'killed at':>11}{'bytes':>8}")
    print(f"{'1 process':>20}{seconds:>9.1f}{'no':>11}{'':>8}", flush=True)
    alike, at = True, tested // 3
    for count in counts:
        kinds = [("processes", _over_processes)] + [("actors", _over_actors)] * ray
        for kind, search in kinds:
            record, seconds, killed = search(run, task, count, at)
            # threads and Ray's own versions are the same; the place is not
            same = encode(_comparable(record, expected)) == encode(_comparable(expected, expected))
            alike = alike and same and killed is not None
            print(
                f"{f'{count} {kind}':>20}{seconds:>9.1f}"
                f"{'never' if killed is None else killed:>11}{'same' if same else 'DIFFER':>8}",
                flush=True,
            )
    return alike


def _comparable(record: RunRecord, like: RunRecord) -> RunRecord:
    details = {name: value for name, value in record.details.items() if name != LOST_WORKERS}
    return replace(record, wall_seconds=0.0, environment=like.environment, details=details)


def _over_processes(
    run: RunSpec, task: TaskSpec, workers: int, at: int | None
) -> tuple[RunRecord, float, int | None]:
    worker = local_sharded_worker(
        workers, device="cpu", memory=MEMORY, threads=1, alone=lambda: Worker(device="cpu")
    )
    watch = KillingWatch(at)
    try:
        record = worker.execute(run, task, watch)
    finally:
        worker.close()
    return record, watch.seconds, watch.killer.killed


def _over_actors(
    run: RunSpec, task: TaskSpec, workers: int, at: int
) -> tuple[RunRecord, float, int | None]:
    import ray

    from acdc_pipeline.execution.ray import RayExecutor

    place = WorkerProfile(
        executor="ray",
        actors=1,
        cpus=1,
        gpus=0,
        shards=workers,
        dtype="float32",
        memory=MEMORY,
        attempts=4,
        checkpoint=60.0,
    )
    listener = KillingListener(at)
    # as many CPUs as workers, whatever this machine has: they share its cores
    ray.init(
        address="local",
        num_cpus=max(2, workers),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "store", mode="write")
            outcomes = list(RayExecutor(place).execute([PlannedRun(run, task)], store, listener))
            assert [outcome.error for outcome in outcomes] == [None]
            record = store.get(run.run_id())
    finally:
        ray.shutdown()
    return record, record.wall_seconds, listener.killer.killed


def _shard_actors() -> list[psutil.Process]:
    """Processes of the actors of a run: those beside the one that executes it, if there are any."""
    every = list(psutil.process_iter(["cmdline"]))
    for name in ("ray::ShardActor", "ray::RunActor"):
        if found := [p for p in every if name in "".join(p.info["cmdline"] or ())]:
            return found
    return []
