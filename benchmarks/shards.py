"""What spreading a run's prompts over workers costs and gains: `python -m benchmarks.shards`.

ACDC on a random model of the width of GPT-2 small, once for each number of workers, each a process
with one thread. Reported are the seconds of the search without loading, the CPU seconds of the
busiest worker and of the driver, which other work on the machine hardly changes, and the bytes
that travelled. `--together` begins with all prompts in one process and one batch, as without
workers; `--predict` adds what the numbers say of more and faster workers.

`--only evaluate`, `heads` and `killed` measure what else is spread (`shard_jobs`, `shard_losses`).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

import torch

from acdc_pipeline.engine.prompt_groups import count_groups
from acdc_pipeline.execution.shards.local import local_sharded_worker
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.store.codec import encode
from benchmarks.case import GPT2_SMALL, Case
from benchmarks.measurement import machine
from benchmarks.shard_case import MEMORY, Stopwatch, plan_acdc
from benchmarks.shard_jobs import PARTS, measure_part
from benchmarks.shard_losses import search_with_losses

GPUS = (1, 8, 64)
LATENCY = {"same node": 0.3e-3, "other nodes": 1.0e-3}
"""Seconds of one message to all workers and their answers, beyond what they compute."""
GPU_SPEED = 300.0
"""Matrix products of a GPU in float32 against one CPU core: 20 TFLOP/s against 65 GFLOP/s."""


@dataclass(frozen=True)
class Cost:
    """One search.

    Args:
        seconds: of the search, without loading.
        busiest: CPU seconds of the worker that computed most.
        driver: CPU seconds of the driver.
        exchanges: messages to all workers.
        sent, received: bytes to and from one worker on average.
        decisions: edges tested.
        files: what the store would hold, for comparison.
    """

    workers: int
    seconds: float
    busiest: float
    driver: float
    exchanges: int
    sent: float
    received: float
    decisions: int
    files: dict[str, bytes]


def measure(case: Case, threshold: float, workers: int, folder: Path) -> Cost:
    """Search once, over that many workers."""
    run, task = plan_acdc(case, threshold, folder)
    worker = local_sharded_worker(
        workers, device="cpu", memory=MEMORY, threads=1, alone=lambda: Worker(device="cpu")
    )
    watch = Stopwatch()
    record = worker.execute(run, task, watch)
    pool = worker.pool
    assert pool is not None
    worker.close()
    return Cost(
        workers,
        watch.seconds,
        watch.busiest,
        watch.driver,
        pool.exchanges,
        pool.bytes_sent / pool.size,
        pool.bytes_received / pool.size,
        len(record.decisions),
        encode(replace(record, wall_seconds=0.0)),
    )


def measure_together(case: Case, threshold: float, folder: Path) -> Cost:
    """Search once in this process, all prompts in one batch."""
    run, task = plan_acdc(case, threshold, folder)
    worker, watch = Worker(device="cpu", memory=MEMORY), Stopwatch()
    record = worker.execute(run, task, watch)
    return Cost(0, watch.seconds, watch.driver, 0.0, 0, 0.0, 0.0, len(record.decisions), {})


def predict(one: Cost, groups: int, gpus: int, latency: float) -> float:
    """The seconds of the same search on GPUs, from its cost on one CPU core.

    The busiest worker computes an equal part of the groups, rounded up, `GPU_SPEED` times as fast;
    the driver decides as fast as here, while the workers wait.
    """
    share = -(-groups // gpus) / groups
    return share * one.busiest / GPU_SPEED + one.driver + one.exchanges * latency


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("search", *PARTS, "killed"), default="search")
    parser.add_argument("--ray", action="store_true", help="with --only killed: Ray actors as well")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--threshold", type=float, default=3e-3)
    parser.add_argument("--share", type=float, default=0.01, help="of the edges; for evaluate")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    parser.add_argument("--repeats", type=int, default=1, help="the median of so many counts")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--predict", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = replace(GPT2_SMALL, layers=options.layers, prompts=options.prompts)
    groups = count_groups(case.prompts)
    print(f"{machine(torch.device('cpu'))}, load {os.getloadavg()[0]:.1f} before")
    print(f"{case.name}, {case.prompts} prompts x {case.tokens} tokens, {groups} groups")
    if options.only in PARTS:
        share = options.share
        measure_part(options.only, case, options.workers, options.repeats, share, options.folder)
    if options.only == "killed" and not search_with_losses(
        case, options.threshold, options.workers, options.folder, ray=options.ray
    ):
        raise SystemExit("results differ, or no worker was killed")
    if options.only != "search":
        print(f"load {os.getloadavg()[0]:.1f} after")
        return
    print(
        f"{'workers':>7}{'seconds':>9}{'busiest':>9}{'driver':>8}{'messages':>10}"
        f"{'B/decision':>12}{'bytes':>8}"
    )
    if options.together:
        cost = measure_together(case, options.threshold, options.folder)
        print(f"{'none':>7}{cost.seconds:>9.1f}{cost.busiest:>9.1f}", flush=True)
    costs: list[Cost] = []
    for workers in options.workers:
        every = [
            measure(case, options.threshold, workers, options.folder)
            for _ in range(options.repeats)
        ]
        middle = median_low(each.seconds for each in every)
        cost = next(each for each in every if each.seconds == middle)
        costs.append(cost)
        same = "same" if cost.files == costs[0].files else "DIFFER"
        travelled = (cost.sent + cost.received) / cost.decisions
        print(
            f"{workers:>7}{cost.seconds:>9.1f}{cost.busiest:>9.1f}{cost.driver:>8.2f}"
            f"{cost.exchanges:>10,}{travelled:>12.0f}{same:>8}",
            flush=True,
        )
    first = costs[0]
    for cost in costs[1:]:
        print(
            f"{cost.workers} against {first.workers}: {first.seconds / cost.seconds:.2f}x by the "
            f"clock, {first.busiest / (cost.busiest + cost.driver):.2f}x by CPU seconds"
        )
    print(f"{first.decisions:,} decisions, load {os.getloadavg()[0]:.1f} after")
    if options.predict:
        for prompts in (case.prompts, 512):
            more = prompts / case.prompts
            scaled = replace(first, busiest=first.busiest * more)
            for gpus in GPUS:
                for where, latency in LATENCY.items():
                    if (gpus > 8) == (where == "other nodes"):
                        seconds = predict(scaled, count_groups(prompts), gpus, latency)
                        print(f"{prompts:>4} prompts, {gpus:>2} GPUs, {where}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
