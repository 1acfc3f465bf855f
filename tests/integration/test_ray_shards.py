"""A run spread over the actors of a real cluster, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import SilentParts
from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.execution.ray.jobs import actor_pool
from acdc_pipeline.execution.ray.shards import ShardActor
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import ProfileMethod, WorkerProfile, find_task
from acdc_pipeline.store import open_store
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.stored_evaluation import evaluation_figures
from tests.ray_cluster import Log, profile, two_cpu_cluster
from tests.shard_channels import planned, pool_of, random_task, sharded_worker, stored

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
    (lost,) = found.details["lost_workers"]
    assert lost.startswith("worker 2 of 2 died")
    assert lost in log.waits
    details = {name: value for name, value in found.details.items() if name != "lost_workers"}
    same = replace(found, environment=expected.environment, details=details)
    assert stored(same) == stored(expected)
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
    assert not psutil.wait_procs(_shards(), timeout=60)[1]
    found = store.get(run.run_id())
    with one_thread():
        expected = Worker(device="cpu", memory=2**28).execute(run, task)
    assert stored(replace(found, environment=expected.environment)) == stored(expected)


def test_evaluation_over_actors_of_which_one_is_killed_has_the_figures_of_one_worker(
    tmp_path: Path,
):
    task = random_task(tmp_path)
    run = planned(task, "gpt2", "eap", {"edges": 12})
    plan = evaluation_plan("full", null=6, draws=1, restarts=1, resamples=2)

    def figures(circuit: Circuit, pool: JobPool, progress: SilentParts) -> dict[str, Any]:
        worker = Worker(device="cpu", memory=2**28, pool=pool)
        found = evaluate(worker, run, task, circuit, [circuit], plan, progress)
        return evaluation_figures(found)

    messages: list[str] = []
    place: WorkerProfile = profile(actors=1, shards=2)
    with one_thread():
        circuit = Worker(device="cpu", memory=2**28).execute(run, task).circuit
        assert circuit is not None
        over_actors = figures(circuit, actor_pool(place, report=messages.append), ShardKiller())
        assert not psutil.wait_procs(_shards(), timeout=60)[1]
        assert over_actors == figures(circuit, pool_of(1), SilentParts())
    assert [message.partition(" of 2 died (")[2] for message in messages] == [
        "its process was killed (out of memory?) or crashed); another one replaces it"
    ]
    with pytest.raises(InvalidInput, match="has no room for 3 workers"):
        actor_pool(profile(actors=1, shards=3))


class ShardKiller(SilentParts):
    """Kills an actor as soon as there is one."""

    def __init__(self) -> None:
        self.killed = False

    def share(self, done: float) -> None:
        if not self.killed and (shards := _shards()):
            os.kill(shards[0].pid, signal.SIGKILL)
            self.killed = True


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with as many threads as an actor of one CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
