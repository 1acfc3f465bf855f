"""Drivers that are killed, and drivers that race: the store holds every run once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.store import open_store
from tests import ray_workers
from tests.ray_cluster import Log, process_of, profile, two_cpu_cluster
from tests.ray_driver import RUNS
from tests.support import REPOSITORY

pytestmark = pytest.mark.ray

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


@contextmanager
def driver(
    address: str, store: str, notes: Path, *, actors: int, together: int
) -> Iterator[subprocess.Popen[str]]:
    """A driver that begins when `together` workers are ready; killed if still there at the end."""
    arguments = (address, store, str(notes), str(actors), str(together))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ray_driver", *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("lines", [1, 20])
def test_killed_driver_run_again_executes_only_what_is_missing(
    cluster: Cluster, store_url: str, notes: Path, lines: int
):
    with driver(str(cluster.address), store_url, notes, actors=2, together=2) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
    assert all(line.startswith("committed ") for line in told)
    store = open_store(store_url)
    before = set(store.run_ids())
    assert lines <= len(before) < len(IDS)
    assert store.damaged() == []
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.quick, notes))
    log = Log()
    outcomes = list(executor.execute(RUNS, store, log))
    assert store.run_ids() == IDS
    assert store.damaged() == []
    # Workers of a killed driver may still have ended the run they were at.
    found = {o.planned.run_id for o in outcomes if o.state == "present"}
    assert before <= found
    workers = {process_of(worker) for worker, _, _ in log.starts}
    assert ray_workers.executions(notes, workers) == sorted(set(IDS) - found)


def test_racing_drivers_on_one_store_commit_every_run_once(
    cluster: Cluster, store_url: str, notes: Path
):
    with (
        driver(str(cluster.address), store_url, notes, actors=1, together=2) as one,
        driver(str(cluster.address), store_url, notes, actors=1, together=2) as other,
    ):
        told = [process.communicate()[0].splitlines() for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0]
    for lines in told:
        assert sorted(line.partition(" ")[2] for line in lines) == IDS
    committed = [line for lines in told for line in lines if line.startswith("committed")]
    assert sorted(line.partition(" ")[2] for line in committed) == IDS
    store = open_store(store_url)
    assert store.run_ids() == IDS
    assert store.damaged() == []
    assert list((Path(store.url) / "tmp").iterdir()) == []


def test_interrupted_driver_takes_the_cluster_that_it_started_with_it(store_url: str, notes: Path):
    with driver("local", store_url, notes, actors=2, together=2) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(3)]
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.readlines()
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGINT
    # Nothing but outcomes is ever on stdout.
    lines = [*told, *rest]
    assert all(line.startswith("committed ") for line in lines)
    store = open_store(store_url)
    assert store.damaged() == []
    assert len(lines) <= len(store.run_ids()) < len(IDS)
    assert list((Path(store.url) / "tmp").iterdir()) == []
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
