"""What a second worker is worth: `OMP_NUM_THREADS=1 python -m benchmarks.speedup`, quiet machine.

Real searches, one thread each, on one worker of Ray and on two. Two searches share the machine's
caches and its way to memory, so beside that stands what two plain processes do against one, with no
Ray and no store: the bound of this machine. Both are measured in turns, several times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from acdc_pipeline.execution.checkpoint import NoCheckpoint
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.execution.ray.actor import Allotment, make_worker
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import AcdcMethod, find_task
from acdc_pipeline.store import open_store
from benchmarks.watched import Watch, executed

MEMORY = 2**25
"""Of a search, in bytes: two of them stay near the machine's caches."""


def searches(count: int, first: int = 0) -> list[PlannedRun]:
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
            plan_run(task, "zoo:gpt2-4l-s0", method=method, prompts=16, seed=seed, dtype="float32"),
            task,
        )
        for seed in range(first, first + count)
    ]


def rate_on_ray(workers: int, runs: list[PlannedRun]) -> float:
    """Searches a second while all workers are busy."""
    folder = Path(tempfile.mkdtemp(prefix="speedup-"))
    try:
        store = open_store(folder, mode="write")
        watch = executed(runs, store, workers, make_worker, Watch(), MEMORY)
        return watch.runs_per_second_of(workers)
    finally:
        shutil.rmtree(folder)


def rate_of_processes(processes: int, runs: list[PlannedRun]) -> float:
    """Searches a second of plain processes, each with its own part of `runs`."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(processes), context.Queue()
    parts = [runs[index::processes] for index in range(processes)]
    members = [context.Process(target=_search, args=(part, barrier, rates)) for part in parts]
    for member in members:
        member.start()
    total = sum(rates.get() for _ in members)
    for member in members:
        member.join()
    return total


def _search(runs: list[PlannedRun], barrier: Barrier, rates: Queue[float]) -> None:
    worker = make_worker(Allotment(device="cpu", memory=MEMORY, threads=1, share=1.0))
    worker.execute(runs[0].run, runs[0].task, Silent(), NoCheckpoint())
    barrier.wait()
    started = time.perf_counter()
    for planned in runs:
        worker.execute(planned.run, planned.task, Silent(), NoCheckpoint())
    rates.put(len(runs) / (time.perf_counter() - started))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=48, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    runs = searches(options.searches)
    ways: dict[str, Callable[[int, list[PlannedRun]], float]] = {
        "workers of Ray": rate_on_ray,
        "plain processes": rate_of_processes,
    }
    print(f"{len(runs)} searches of {runs[0]}, one thread each; searches a second")
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, rate in ways.items():
            one, two = rate(1, runs), rate(2, runs)
            ratios[name].append(two / one)
            print(f"{name:<16} one {one:6.3f}  two {two:6.3f}  {two / one:.2f}x", flush=True)
    for name, found in ratios.items():
        print(f"{name:<16} median {median(found):.2f}x")


if __name__ == "__main__":
    main()
