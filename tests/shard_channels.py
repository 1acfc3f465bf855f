"""Sharded runs of random prompts, and shards in this process, which can be made to die."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.messages import Channel, WorkerDied, answer
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.shards.worker import ShardedWorker
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import RunSpec, TaskSpec, find_task, method_for
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store import RunRecord
from acdc_pipeline.store.codec import encode
from tests import checkpoints, tiny_models

PROMPTS = 19
"""Three groups, the last one smaller."""


def random_task(folder: Path, prompts: int = PROMPTS) -> TaskSpec:
    """Pairs of random token ids, in a file in `folder`."""
    shape = (prompts, 2, 6)
    tokens = torch.randint(checkpoints.VOCAB, shape, generator=torch.Generator().manual_seed(1))
    lines = [
        json.dumps({"clean": clean, "corrupted": corrupted, "correct": 3, "incorrect": [4]})
        for clean, corrupted in tokens.tolist()
    ]
    path = folder / "random_pairs.jsonl"
    path.write_text("\n".join(lines))
    return find_task(path)


def planned(task: TaskSpec, model: str, name: str, given: dict[str, Any]) -> RunSpec:
    """A run of method `name` on a tiny model, in float64."""
    method = method_for(name, given, task, where="test")
    folder = f"dir:{tiny_models.folder(model)}"
    return plan_run(task, folder, method=method, prompts=PROMPTS, seed=0, dtype="float64")


def stored(record: RunRecord) -> dict[str, bytes]:
    """The files of a record, but for the time that it took."""
    return encode(replace(record, wall_seconds=0.0))


class Deaths:
    """Counts the messages of each worker, and tells when one dies.

    Args:
        at: for each worker, the numbers of its messages at which it dies; later ones count on.
        before: whether it dies before it computes the answer, or after.
    """

    def __init__(self, at: Mapping[int, Collection[int]], *, before: bool = True) -> None:
        self.at, self.before = at, before
        self.sent: dict[int, int] = {}
        self.died = 0


ONE_AT_A_TIME = Lock()
"""transformers loads no two models at once in one process."""


class InProcess:
    """A channel to a shard in this process. Messages are encoded as between processes."""

    def __init__(self, number: int, deaths: Deaths) -> None:
        self.number, self.deaths = number, deaths
        self.shard = cache(partial(Shard, "cpu", torch.get_num_threads()))
        self.message = b""

    def send(self, message: bytes) -> None:
        self.deaths.sent[self.number] = self.deaths.sent.get(self.number, -1) + 1
        if self.deaths.before:
            self._die()
        self.message = message

    def receive(self) -> bytes:
        with ONE_AT_A_TIME:
            received = answer(self.shard, self.message)
        if not self.deaths.before:
            self._die()
        return received

    def close(self) -> None:
        """Nothing to end."""

    def _die(self) -> None:
        if self.deaths.sent[self.number] in self.deaths.at.get(self.number, ()):
            self.deaths.died += 1
            raise WorkerDied("the test ended it")


def sharded_worker(
    shards: int,
    deaths: Deaths | None = None,
    report: Callable[[str], None] = lambda message: None,
    own_metric: Metric | None = None,
) -> ShardedWorker:
    """A worker that spreads prompts over `shards` shards in this process."""
    plan = Deaths({}) if deaths is None else deaths

    def start(number: int) -> Channel:
        return InProcess(number, plan)

    def alone() -> Worker:
        return Worker(device="cpu", own_metric=own_metric)

    return ShardedWorker(start, shards, memory=2**30, alone=alone, report=report)


def pool_of(size: int, deaths: Deaths | None = None, reports: list[str] | None = None) -> JobPool:
    """A pool of `size` workers in this process."""
    plan = Deaths({}) if deaths is None else deaths

    def start(number: int) -> Channel:
        return InProcess(number, plan)

    return JobPool(start, size, (lambda _: None) if reports is None else reports.append)
