"""A run spread over the actors of a real cluster, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.execution.ray.shards import ShardActor
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import ProfileMethod, WorkerProfile, find_task
from acdc_pipeline.store import open_store
from tests.ray_cluster import Log, profile, two_cpu_cluster
from tests.shard_channels import planned, random_task, sharded_worker, stored

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    with two_cpu_cluster() as started:
        yield started


def _shards() -> list[psutil.Process]:
    every = psutil.process_iter(["name", "cmdline"])
    return [p for p in every if f"ray::{ShardActor.__name__}" in "".join(p.info["cmdline"] or ())]


def test_run_over_actors_of_which_one_is_killed_has_the_bits_of_one_worker(tmp_path: Path):
    task = random_task(tmp_path)
    run = PlannedRun(planned(task, "gpt2", "acdc", {"threshold": 1e-4}), task)
    killed: list[int] = []

    def kill_shard(worker: str) -> None:
        if not killed and (shards := _shards()):
            killed.append(shards[0].pid)
            os.kill(shards[0].pid, signal.SIGKILL)

    log = Log(on_advanced=kill_shard)
    place: WorkerProfile = profile(actors=1, shards=2)
    store = open_store(tmp_path / "store", mode="write")
    outcomes = list(RayExecutor(place).execute([run], store, log))
    assert [outcome.error for outcome in outcomes] == [None]
    assert not log.losses
    assert killed
    alone = sharded_worker(1)
    alone.memory = 2**28
    expected = alone.execute(run.run, task)
    found = store.get(run.run_id)
    assert stored(replace(found, environment=expected.environment)) == stored(expected)
    assert found.environment["prompts_per_group"] == "8"
    states = {group["state"] for group in placement_group_table().values()}
    assert states == {"REMOVED"}


def test_head_profile_over_actors_has_the_rows_of_one_process(tmp_path: Path):
    task = find_task("induction")
    method = ProfileMethod.with_defaults().model_copy(update={"sequences": 4, "tokens": 64})
    run = plan_run(task, "zoo:attn-2l", method=method, prompts=8, seed=0, dtype="float32")
    store = open_store(tmp_path / "store", mode="write")
    place: WorkerProfile = profile(actors=1, shards=2)
    outcomes = list(RayExecutor(place).execute([PlannedRun(run, task)], store, Log()))
    assert [outcome.error for outcome in outcomes] == [None]
    assert not _shards()
    found = store.get(run.run_id())
    with one_thread():
        expected = Worker(device="cpu", memory=2**28).execute(run, task)
    assert stored(replace(found, environment=expected.environment)) == stored(expected)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with as many threads as an actor of one CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
