"""What the benchmarks of workers share: the planned run on random prompts, and a stopwatch."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.execution.shards import process
from acdc_pipeline.specs import Method, RunSpec, TaskSpec, find_task, method_for
from benchmarks.case import Case

MEMORY = 2 * 2**30
"""Byte budget of every worker."""


class Stopwatch(Silent):
    """The seconds between the start and the end of some work, here and in the workers.

    Attributes:
        seconds: by the clock.
        driver: CPU seconds of this process.
        busiest: CPU seconds of the worker that computed most.
    """

    def start(self, total_edges: int = 0, label: str = "") -> None:
        self.workers = worker_processes()
        self._begun = self._now()

    def finish(self) -> None:
        ended = self._now()
        clock, driver, *workers = (b - a for a, b in zip(self._begun, ended, strict=True))
        self.seconds, self.driver, self.busiest = clock, driver, max(workers, default=0.0)

    def _now(self) -> list[float]:
        busy = [sum(worker.cpu_times()[:2]) for worker in self.workers]
        return [time.perf_counter(), time.process_time(), *busy]


def worker_processes() -> list[psutil.Process]:
    """The processes that this one has as workers."""
    return [p for p in psutil.Process().children() if process.__name__ in p.cmdline()]


def random_task(case: Case, folder: Path) -> TaskSpec:
    """The task of the random prompts of a case, in a file in `folder`."""
    prompts = case.make_prompts()
    pairs = zip(prompts.clean.tolist(), prompts.corrupted.tolist(), strict=True)
    lines = [
        json.dumps({"clean": c, "corrupted": d, "correct": 0, "incorrect": 1}) for c, d in pairs
    ]
    folder.mkdir(exist_ok=True)
    path = folder / f"random_{case.vocab}_{case.prompts}_{case.tokens}.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return find_task(path)


def plan_case(case: Case, method: Method, task: TaskSpec, folder: Path) -> RunSpec:
    """The run of a method on the model and the prompts of a case."""
    model = f"dir:{case.save_model(folder)}"
    return plan_run(task, model, method=method, prompts=case.prompts, seed=0, dtype="float32")


def plan_acdc(case: Case, threshold: float, folder: Path) -> tuple[RunSpec, TaskSpec]:
    """A search with KL on the model and the prompts of a case, and its task."""
    task = random_task(case, folder)
    method = method_for("acdc", {"threshold": threshold, "metric": "kl"}, task, where="benchmark")
    return plan_case(case, method, task, folder), task
