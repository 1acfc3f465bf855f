"""A search over processes of this machine, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.execution.shards.local import local_sharded_worker
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import ProfileMethod, find_task
from acdc_pipeline.store import open_store
from acdc_pipeline.workflows.discovery import discover_into, worker_factory
from tests.shard_channels import planned, random_task, sharded_worker, stored


class Killer(Silent):
    """Kills a worker process in the middle of a search."""

    def __init__(self) -> None:
        self.killed = 0

    def advance(self, tested: int, kept: int, left: int) -> None:
        if tested == 25:
            os.kill(_processes()[-1], signal.SIGKILL)
            self.killed += 1


def _processes() -> list[int]:
    children = psutil.Process().children()
    return sorted(
        p.pid for p in children if "acdc_pipeline.execution.shards.process" in p.cmdline()
    )


def test_search_over_processes_of_which_one_is_killed_has_the_same_bits(tmp_path: Path):
    task = random_task(tmp_path)
    run = planned(task, "gpt2", "acdc", {"threshold": 0.01})
    messages: list[str] = []
    worker = local_sharded_worker(
        2,
        device="cpu",
        memory=2**30,
        threads=torch.get_num_threads(),
        alone=lambda: Worker(device="cpu"),
        report=messages.append,
    )
    killer = Killer()
    record = worker.execute(run, task, killer)
    assert killer.killed == 1
    assert messages == ["worker 2 of 2 died (killed by SIGKILL); another one replaces it"]
    assert stored(record) == stored(sharded_worker(1).execute(run, task))
    assert len(_processes()) == 2
    worker.close()
    assert not _processes()


def test_head_profile_over_processes_of_which_one_is_killed_has_the_bytes_of_one_and_records_it(
    tmp_path: Path,
):
    task = find_task("induction")
    method = ProfileMethod.with_defaults().model_copy(update={"sequences": 4, "tokens": 64})
    run = plan_run(task, "zoo:attn-2l", method=method, prompts=8, seed=0, dtype="float32")
    messages: list[str] = []
    threads, killer = torch.get_num_threads(), FirstKiller()
    make = worker_factory("cpu", 2**30, threads, shards=2, report=messages.append)
    record, _ = discover_into(open_store(tmp_path), run, task, make, killer)
    assert killer.killed == 1
    (lost,) = record.details["lost_workers"]
    assert messages == [lost]
    assert lost.endswith("(killed by SIGKILL); another one replaces it")
    assert not _processes()
    alone = Worker(device="cpu", memory=2**30).execute(run, task)
    details = {**alone.details, "lost_workers": [lost]}
    assert stored(record) == stored(replace(alone, details=details))


class FirstKiller(Silent):
    """Kills a worker process as soon as there is one."""

    def __init__(self) -> None:
        self.killed = 0

    def advance(self, tested: int, kept: int, left: int) -> None:
        if not self.killed and (processes := _processes()):
            os.kill(processes[-1], signal.SIGKILL)
            self.killed += 1
