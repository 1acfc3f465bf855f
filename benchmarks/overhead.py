"""What it costs to execute a run on Ray: `python -m benchmarks.overhead` on a quiet machine.

`dispatch`: trivial runs through a driver and its workers, committed to a local store, then all of
them once more, when the store has them; and the same commits without Ray, in one process.
`speedup`: real searches, one thread each, on one worker and on two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from acdc_pipeline.execution.executor import Outcome
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray_executor import RayExecutor
from acdc_pipeline.execution.ray_executor.allotment import WorkerFactory, make_worker
from acdc_pipeline.specs import AcdcMethod, WorkerProfile, find_task
from acdc_pipeline.store import Store, open_store
from benchmarks.trivial import make_trivial, record_of, trivial_runs

MIB = 2**20


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
    runs: list[PlannedRun], store: Store, workers: int, factory: WorkerFactory, watch: Watch
) -> Watch:
    """Executes `runs` on a cluster of this machine; one CPU and one thread for each worker."""
    profile = WorkerProfile(
        executor="ray",
        actors=workers,
        cpus=1,
        gpus=0,
        dtype="float32",
        memory=2**29,
        attempts=1,
        checkpoint=3600.0,
    )
    for _ in RayExecutor(profile, address="local", worker_factory=factory).execute(
        runs, store, watch
    ):
        pass
    return watch


def dispatch(count: int, workers: int, folder: Path) -> None:
    """Prints how many trivial runs a second, and how the driver's memory grows."""
    print(f"{count} trivial runs, {workers} workers, store in {folder}")
    runs = trivial_runs(count)
    tenths = frozenset(count * tenth // 10 for tenth in range(1, 11))
    store = open_store(folder / "ray", mode="write")
    first = executed(runs, store, workers, make_trivial, Watch(tenths))
    print(f"committed      {first.runs_per_second:8.0f} runs/s")
    sizes = "  ".join(f"{size / MIB:.0f}" for size in first.resident.values())
    print(f"driver, MiB resident at 10 %, 20 %, … 100 %: {sizes}")
    again = executed(runs, store, workers, make_trivial, Watch())
    print(f"found there    {again.runs_per_second:8.0f} runs/s")
    commits(runs[: min(count, 500)], open_store(folder / "alone", mode="write"))


def commits(runs: list[PlannedRun], store: Store) -> None:
    """Prints what a commit costs in one process, and how much of it is waiting for the disk."""
    records = [record_of(planned.run) for planned in runs]
    with counted_syncs() as syncs:
        started = time.perf_counter()
        for record in records:
            store.commit(record)
        seconds = time.perf_counter() - started
    print(
        f"commit alone   {len(runs) / seconds:8.0f} runs/s in one process: "
        f"{1e3 * seconds / len(runs):.2f} ms each, of which {1e3 * sum(syncs) / len(runs):.2f} ms "
        f"in {len(syncs) / len(runs):.0f} fsyncs"
    )


@contextmanager
def counted_syncs() -> Iterator[list[float]]:
    """The seconds that each fsync of this process takes meanwhile."""
    seconds: list[float] = []
    real = os.fsync

    def timed(descriptor: int) -> None:
        started = time.perf_counter()
        real(descriptor)
        seconds.append(time.perf_counter() - started)

    os.fsync = timed
    try:
        yield seconds
    finally:
        os.fsync = real


def speedup(count: int, folder: Path) -> None:
    """Prints how many real searches a second one worker does, and two."""
    runs = searches(count)
    print(f"{count} searches of {runs[0]}, one thread each")
    rates = {}
    for workers in (1, 2):
        store = open_store(folder / f"by-{workers}", mode="write")
        watch = executed(runs, store, workers, make_worker, Watch())
        rates[workers] = watch.runs_per_second_of(workers)
        print(f"{workers} worker(s)    {rates[workers]:8.3f} runs/s")
    print(f"two against one: {rates[2] / rates[1]:.2f}x")


def searches(count: int) -> list[PlannedRun]:
    """IOI in a model of the zoo, each with prompts of its own."""
    task = find_task("ioi")
    method = AcdcMethod(
        name="acdc",
        threshold=0.01,
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )
    return [
        PlannedRun(
            plan_run(task, "zoo:gpt2-4l-s0", method=method, prompts=64, seed=seed, dtype="float32"),
            task,
        )
        for seed in range(count)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("dispatch", "speedup", "all"), default="all")
    parser.add_argument("--runs", type=int, default=10_000, help="trivial runs")
    parser.add_argument("--workers", type=int, default=2, help="workers for trivial runs")
    parser.add_argument("--searches", type=int, default=24, help="real runs")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="on the disk to use")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=options.folder))
    try:
        if options.part in ("dispatch", "all"):
            dispatch(options.runs, options.workers, folder)
        if options.part in ("speedup", "all"):
            speedup(options.searches, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
