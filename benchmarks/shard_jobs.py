"""What other workers gain where jobs are spread in place of prompts: evaluations and head profiles.

`python -m benchmarks.shards --only evaluate|heads`. The model is loaded everywhere before the
clock starts. The driver waits for most of the time, so that one worker is one core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from acdc_pipeline.execution.shards.circuit_jobs import RunJobs, subject_of
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.local import start_process
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import ProfileMethod, RunSpec, TaskSpec, method_for
from acdc_pipeline.store.codec import encode
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.stored_evaluation import evaluation_figures
from benchmarks.case import Case
from benchmarks.shard_case import MEMORY, Stopwatch, plan_case, random_task

PARTS = ("evaluate", "heads")
AMOUNTS = {"null": 32, "draws": 2, "restarts": 1, "resamples": 4}
"""What of an evaluation is measured, beside the curve."""


@dataclass(frozen=True)
class Work:
    """What is measured: `compute` returns a result that every number of workers has to reach."""

    run: RunSpec
    task: TaskSpec
    compute: Callable[[Worker], Any]


def measure_part(
    part: str, case: Case, counts: list[int], repeats: int, share: float, folder: Path
) -> None:
    """Print the median seconds of each number of workers, and their ratios to the first.

    Args:
        share: of the edges, in the circuit that is evaluated.
    """
    work = _heads(case, folder) if part == "heads" else _evaluation(case, share, folder)
    print(
        f"{'workers':>7}{'seconds':>9}{'busiest':>9}{'driver':>8}{'jobs':>6}{'result':>8}{'faster':>9}"
    )
    expected, first = None, 0.0
    for workers in counts:
        measured = [_measure(work, workers) for _ in range(repeats)]
        expected = measured[0].result if expected is None else expected
        same = all(each.result == expected for each in measured)
        seconds, busiest, driver = (
            median(getattr(each.watch, name) for each in measured)
            for name in ("seconds", "busiest", "driver")
        )
        first = first or seconds
        print(
            f"{workers:>7}{seconds:>9.1f}{busiest:>9.1f}{driver:>8.1f}{measured[0].jobs:>6}"
            f"{'same' if same else 'DIFFER':>8}{first / seconds:>8.2f}x",
            flush=True,
        )


@dataclass(frozen=True)
class Measured:
    """The result of some work over workers, its time, and the number of jobs."""

    watch: Stopwatch
    result: Any
    jobs: int


def _measure(work: Work, workers: int) -> Measured:
    """Compute over processes that have loaded the model."""
    pool = JobPool(start_process(workers, "cpu", 1), workers)
    worker = Worker(device="cpu", memory=MEMORY, pool=pool)
    worker.model(work.run)
    jobs = RunJobs(pool, work.run, work.task, MEMORY)
    for loaded in [jobs.submit(load_model) for _ in range(pool.size)]:
        loaded.result()
    watch = Stopwatch()
    ending = pool.close

    def stop() -> None:
        watch.finish()
        ending()

    pool.close = stop  # the processes are asked for their seconds before they end
    watch.start()
    return Measured(watch, work.compute(worker), pool.done - pool.size)


def load_model(shard: Shard) -> None:
    """Load the model of the run; each worker has one such job at a time."""
    worker, run, _ = subject_of(shard)
    worker.model(run)


def _heads(case: Case, folder: Path) -> Work:
    task = random_task(case, folder)
    run = plan_case(case, ProfileMethod.with_defaults(), task, folder)

    def compute(worker: Worker) -> dict[str, bytes]:
        return encode(replace(worker.execute(run, task), wall_seconds=0.0))

    return Work(run, task, compute)


def _evaluation(case: Case, share: float, folder: Path) -> Work:
    task = random_task(case, folder)
    method = method_for("eap", {"share": share, "metric": "nll"}, task, where="benchmark")
    run = plan_case(case, method, task, folder)
    torch.set_num_threads(1)
    circuit = Worker(device="cpu", memory=MEMORY).execute(run, task).circuit
    assert isinstance(circuit, Circuit)
    plan = evaluation_plan("full", **AMOUNTS)

    def compute(worker: Worker) -> dict[str, Any]:
        return evaluation_figures(evaluate(worker, run, task, circuit, [circuit], plan))

    return Work(run, task, compute)
