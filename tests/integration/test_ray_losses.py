"""Processes and nodes that a sweep loses, gains, or is about to lose."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray
from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]  (compiled)
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import (
    DrainNodeReason,  # pyright: ignore[reportAttributeAccessIssue]  (built at import)
)

from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import find_task
from acdc_pipeline.store import Store, layout, open_store
from tests import ray_workers, records
from tests.planned_runs import planned
from tests.ray_cluster import Log, connect, process_of, profile, two_cpu_cluster

pytestmark = pytest.mark.ray

RUNS = [planned(model=f"zoo:m{m}", seed=seed) for m in range(2) for seed in range(8)]
IDS = sorted(run.run_id for run in RUNS)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    with two_cpu_cluster() as started:
        yield started


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", mode="write")


def states(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes)


def test_execute_killed_worker_process_is_replaced_and_its_run_done(store: Store, notes: Path):
    def kill_the_fifth(worker: str, count: int) -> None:
        if count == 5:
            os.kill(process_of(worker), signal.SIGKILL)

    log = Log(on_started=kill_the_fifth)
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.quick, notes))
    outcomes = list(executor.execute(RUNS, store, log))
    assert states(outcomes) == {"committed": 16}
    assert store.run_ids() == IDS
    assert store.damaged() == []


def real_runs() -> list[PlannedRun]:
    """Twelve runs of well under a second each, in two models."""
    runs = []
    for name in ("compiled-or", "compiled-reverse"):
        task = find_task(name.replace("-", "_"))
        for seed in range(2):
            for threshold in (0.3, 0.1, 0.03):
                method = records.spec().method.model_copy(update={"threshold": threshold})
                run = plan_run(
                    task, f"zoo:{name}", method=method, prompts=32, seed=seed, dtype="float32"
                )
                runs.append(PlannedRun(run, task))
    return runs


def parent_of(worker: str) -> int:
    """The process that started a worker's: the raylet of its node."""
    return psutil.Process(process_of(worker)).ppid()


def bytes_of(store: Store, run_id: str) -> dict[str, bytes]:
    """Every file of a run; of `run.json` all but the seconds it took."""
    folder = Path(store.path(run_id))
    files = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != layout.MARKER
    }
    document = json.loads(files[layout.RUN])
    del document["wall_seconds"]
    return files | {layout.RUN: json.dumps(document).encode()}


def test_execute_with_a_process_and_a_node_lost_in_mid_sweep_leaves_the_bytes_of_the_local_executor(
    cluster: Cluster, store: Store, notes: Path, tmp_path: Path
):
    spare = cluster.add_node(num_cpus=1)
    [raylet] = spare.all_processes["raylet"]
    searching: set[str] = set()

    def break_things(worker: str) -> None:
        if (notes / "go").exists() or log.positions[-1][0] == 0:
            return
        searching.add(worker)
        if len(searching) == 3:
            [there] = [name for name in searching if parent_of(name) == raylet.process.pid]
            cluster.remove_node(spare, allow_graceful=False)
            # The processes of a lost node end with it, here not before they notice.
            for name in (there, next(iter(searching - {there}))):
                with suppress(ProcessLookupError):
                    os.kill(process_of(name), signal.SIGKILL)
            (notes / "go").touch()

    runs, log = real_runs(), Log(on_advanced=break_things)
    # What a lost worker had decided, its successor goes on from where it can.
    place = profile(actors=3).model_copy(update={"checkpoint": 0.001})
    factory = partial(ray_workers.real_together, notes, 3)
    outcomes = list(RayExecutor(place, worker_factory=factory).execute(runs, store, log))
    ids = sorted(run.run_id for run in runs)
    assert states(outcomes) == {"committed": 12}
    assert sorted(o.planned.run_id for o in outcomes) == ids
    assert store.run_ids() == ids
    assert store.damaged() == []
    # Both were in the middle of a search, and nothing but these two was lost in one.
    assert len({run for _, run, _ in log.losses if run is not None}) == 2
    local = open_store(tmp_path / "local", mode="write")
    oracle = LocalExecutor(lambda: Worker(device="cpu", memory=profile().memory))
    assert states(list(oracle.execute(runs, local, Log()))) == {"committed": 12}
    for run_id in ids:
        assert bytes_of(store, run_id) == bytes_of(local, run_id)


def test_execute_feeds_no_worker_on_a_node_that_is_being_drained(
    cluster: Cluster, store: Store, notes: Path
):
    spare = cluster.add_node(num_cpus=1)
    heard_before: list[int] = []

    def drain(worker: str, count: int) -> None:
        if count == 3:
            accepted, why_not = GcsClient(address=cluster.address).drain_node(
                spare.node_id,
                DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
                "to be preempted",
                int(time.time() * 1000) + 3_600_000,
            )
            assert accepted, why_not
            heard_before.append(len(log.positions))

    def go_on(worker: str) -> None:
        # Three workers, asked once in each round: by now the driver has looked at the nodes several
        # times, and on a busy machine too the head has told it of the draining.
        if heard_before and len(log.positions) >= heard_before[0] + 16:
            (notes / "go").touch()

    log = Log(on_started=drain, on_advanced=go_on)
    executor = RayExecutor(profile(actors=3), worker_factory=partial(ray_workers.waiting, notes))
    outcomes = list(executor.execute(RUNS, store, log))
    cluster.remove_node(spare, allow_graceful=False)
    assert [o.error for o in outcomes if o.error is not None] == []
    assert states(outcomes) == {"committed": 16}
    assert {o.attempts for o in outcomes} == {1}
    [(worker, run, reason)] = log.losses
    assert (run, reason) == (None, "its node is being drained")
    assert [name for name, _, _ in log.starts].count(worker) == 1


def test_execute_on_a_cluster_that_may_grow_starts_with_what_is_there(
    cluster: Cluster, store: Store, notes: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_NODE_TYPE_NAME", "spot-workers")
    grown = cluster.add_node(num_cpus=1)
    try:
        executor = RayExecutor(profile(actors=9), worker_factory=partial(ray_workers.quick, notes))
        assert states(list(executor.execute(RUNS, store, Log()))) == {"committed": 16}
    finally:
        cluster.remove_node(grown, allow_graceful=False)


def metrics_of_this_driver() -> dict[str, float]:
    """This package's metrics as Prometheus would read them from the node."""
    lines: list[str] = []
    for node in ray.nodes():
        # Nodes of earlier tests are still listed; of the living, one has this driver's.
        if node["Alive"]:
            port = node["MetricsExportPort"]
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as a:
                lines += a.read().decode().splitlines()
    us = f'WorkerId="{ray.get_runtime_context().get_worker_id()}"'
    ours = [line for line in lines if line.startswith("ray_acdc_") and us in line]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in ours}


def test_execute_counts_what_it_does_in_the_metrics_of_the_cluster(
    cluster: Cluster, store: Store, notes: Path
):
    connect(cluster)
    executor = RayExecutor(profile(actors=1), worker_factory=partial(ray_workers.failing, notes))
    list(executor.execute(RUNS[:8], store, Log()))
    # Four of eight seeds raise; one of the two bugs leaves a worker without the model that the
    # next run needs.
    expected = {
        "ray_acdc_runs_done_total": 4,
        "ray_acdc_runs_failed_total": 4,
        "ray_acdc_runs_queued": 0,
        "ray_acdc_model_loads_total": 2,
    }
    deadline = time.monotonic() + 30
    found = metrics_of_this_driver()
    while time.monotonic() < deadline and not found.items() >= expected.items():
        found = metrics_of_this_driver()
    assert found.items() >= expected.items()
    assert "ray_acdc_edges_tested_per_second" in found
