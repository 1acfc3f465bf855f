"""Runs on a Ray cluster of this machine, and when each of them began and ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.execution.ray.actor import WorkerFactory
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import Store


@dataclass
class Watch:
    """A listener that notes when runs began and ended, and how large this process is then.

    Args:
        sizes: after how many runs to look at the memory of this process.
    """

    sizes: frozenset[int] = frozenset()
    began: float | None = None
    ends: list[tuple[float, str]] = field(default_factory=list)
    resident: dict[int, int] = field(default_factory=dict)

    def waiting(self, reason: str) -> None:
        """Says so."""
        print(f"  {reason}", flush=True)

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        """Notes the first."""
        self.began = self.began or time.perf_counter()

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        """Nothing."""

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        """Nothing may be lost here."""
        raise SystemExit(f"{worker} was lost: {reason}")

    def ended(self, outcome: Outcome) -> None:
        """Notes when."""
        if outcome.error is not None:
            raise SystemExit(str(outcome.error))
        self.ends.append((time.perf_counter(), outcome.worker))
        if len(self.ends) in self.sizes:
            self.resident[len(self.ends)] = psutil.Process().memory_info().rss

    @property
    def runs_per_second(self) -> float:
        """From the first start to the last end."""
        assert self.began is not None
        return len(self.ends) / (self.ends[-1][0] - self.began)

    def runs_per_second_of(self, workers: int) -> float:
        """While all `workers` are busy: from when each has ended one, to when one has no more."""
        by_worker: dict[str, list[float]] = {}
        for when, worker in self.ends:
            by_worker.setdefault(worker, []).append(when)
        if len(by_worker) < workers:
            raise SystemExit("not all workers took part: there are too few runs")
        start = max(times[0] for times in by_worker.values())
        end = min(times[-1] for times in by_worker.values())
        return sum(start < when <= end for when, _ in self.ends) / (end - start)


def executed(
    runs: list[PlannedRun],
    store: Store,
    workers: int,
    factory: WorkerFactory,
    watch: Watch,
    memory: int = 2**29,
) -> Watch:
    """Executes `runs` on a cluster of this machine; one CPU and one thread for each worker."""
    profile = WorkerProfile(
        executor="ray",
        actors=workers,
        cpus=1,
        gpus=0,
        dtype="float32",
        memory=memory,
        attempts=1,
        checkpoint=3600.0,
    )
    for _ in RayExecutor(profile, address="local", worker_factory=factory).execute(
        runs, store, watch
    ):
        pass
    return watch
