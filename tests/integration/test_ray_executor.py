"""Sweeps on a real cluster, whose processes and nodes really die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from acdc_pipeline.errors import ExecutionFailed, InvalidInput, PromptError, StoreError
from acdc_pipeline.execution.executor import Executor
from acdc_pipeline.execution.ray import RayExecutor
from acdc_pipeline.execution.runs import Outcome
from acdc_pipeline.specs.profile import LargerWorkers
from acdc_pipeline.store import Store, open_store
from tests import ray_workers
from tests.planned_runs import planned
from tests.ray_cluster import Log, process_of, profile, two_cpu_cluster
from tests.s3_server import KEY, REGION, SECRET, running_s3_server

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


def test_execute_commits_every_run_once_and_tells_of_each(store: Store, notes: Path):
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.quick, notes))
    assert isinstance(executor, Executor)
    log = Log()
    outcomes = list(executor.execute(RUNS, store, log))
    assert outcomes == log.outcomes
    assert states(outcomes) == {"committed": 16}
    assert sorted(o.planned.run_id for o in outcomes) == IDS
    assert ray_workers.executions(notes) == IDS
    assert store.run_ids() == IDS
    assert store.damaged() == []
    assert {o.edges_kept for o in outcomes} == {3}
    assert {o.attempts for o in outcomes} == {1}
    assert list((Path(store.url) / "tmp").iterdir()) == []


def test_execute_again_computes_nothing(store: Store, notes: Path):
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.quick, notes))
    list(executor.execute(RUNS[:5], store, Log()))
    outcomes = list(executor.execute(RUNS, store, Log()))
    assert states(outcomes) == {"present": 5, "committed": 11}
    assert ray_workers.executions(notes) == IDS


def test_execute_runs_that_raise_are_recorded_and_not_tried_again(store: Store, notes: Path):
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.failing, notes))
    outcomes = list(executor.execute(RUNS, store, Log()))
    assert states(outcomes) == {"committed": 8, "failed": 8}
    assert ray_workers.executions(notes) == IDS
    failed = [o for o in outcomes if o.state == "failed"]
    assert {o.attempts for o in failed} == {1}
    for outcome in failed:
        failure = store.failure(outcome.planned.run_id)
        assert failure is not None
        assert str(failure.error()) == str(outcome.error)
        if outcome.planned.run.seed % 4 == 1:
            assert isinstance(outcome.error, PromptError)
            assert str(outcome.error) == "task 'ioi': does not fit\nfix: write it anew"
            assert failure.traceback == ()
        else:
            assert "ZeroDivisionError: a bug" in str(outcome.error)
            assert "in execute: raise ZeroDivisionError" in failure.traceback[-2]


def test_execute_run_that_kills_its_worker_is_tried_again(store: Store, notes: Path):
    factory = partial(ray_workers.dying, notes, RUNS[3].run_id, 2)
    log = Log()
    outcomes = list(RayExecutor(profile(), worker_factory=factory).execute(RUNS, store, log))
    assert states(outcomes) == {"committed": 16}
    assert Counter(ray_workers.executions(notes)) == Counter(IDS) + Counter({RUNS[3].run_id: 2})
    by_id = {o.planned.run_id: o for o in outcomes}
    assert by_id[RUNS[3].run_id].attempts == 3
    assert [run_id for _, run_id, _ in log.losses] == [RUNS[3].run_id] * 2
    assert store.run_ids() == IDS


def test_execute_run_that_always_kills_its_worker_fails_alone(store: Store, notes: Path):
    factory = partial(ray_workers.dying, notes, RUNS[0].run_id, 99)
    executor = RayExecutor(profile(actors=1, attempts=2), worker_factory=factory)
    outcomes = list(executor.execute(RUNS[:4], store, Log()))
    assert states(outcomes) == {"committed": 3, "failed": 1}
    failed = next(o for o in outcomes if o.state == "failed")
    assert failed.planned is RUNS[0]
    assert failed.attempts == 2
    assert isinstance(failed.error, ExecutionFailed)
    assert "its worker died 2 times; the last time: " in failed.error.problem
    failure = store.failure(RUNS[0].run_id)
    assert failure is not None
    assert failure.attempts == 2


def test_execute_run_whose_worker_dies_after_its_commit_is_committed_once(
    store: Store, notes: Path
):
    factory = partial(ray_workers.dies_committed, notes, Path(store.url) / "runs")
    executor = RayExecutor(profile(actors=1), worker_factory=factory)
    outcomes = list(executor.execute(RUNS, store, Log()))
    assert states(outcomes) == {"committed": 16}
    assert {o.edges_kept for o in outcomes} == {3}
    assert ray_workers.executions(notes) == IDS
    assert store.run_ids() == IDS


def test_execute_closed_in_the_middle_stops_a_busy_search_between_two_steps(
    store: Store, notes: Path
):
    class Enough(Exception):
        pass

    def enough(worker: str) -> None:
        if log.positions[-1][0] > 0:
            raise Enough

    log = Log(on_advanced=enough)
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.endless, notes))
    with pytest.raises(Enough):
        list(executor.execute(RUNS, store, log))
    tested, kept, left = log.positions[-1]
    assert tested + left == ray_workers.EDGES
    assert kept == 0
    workers = {worker for worker, _, _ in log.starts}
    assert len(list(notes.glob("stopped-by-RunCancelled"))) == 1
    assert [p for p in map(process_of, workers) if _is_alive(p)] == []
    assert store.run_ids() == []
    assert list((Path(store.url) / "tmp").iterdir()) == []


def _is_alive(process: int) -> bool:
    try:
        psutil.Process(process).wait(timeout=30)
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        return True
    return False


def test_execute_iterator_closed_by_its_reader_stops_the_rest(store: Store, notes: Path):
    executor = RayExecutor(profile(actors=1), worker_factory=partial(ray_workers.quick, notes))
    log = Log()
    outcomes = executor.execute(RUNS, store, log)
    first = next(iter(outcomes))
    outcomes.close()
    assert first.state == "committed"
    assert len(log.outcomes) < len(RUNS)
    assert store.run_ids() == sorted(o.planned.run_id for o in log.outcomes)


def test_execute_on_too_small_a_cluster_says_what_is_missing(store: Store, notes: Path):
    executor = RayExecutor(
        profile(actors=3, gpus=1), worker_factory=partial(ray_workers.quick, notes)
    )
    log = Log()
    with pytest.raises(InvalidInput, match="1 GPU is missing"):
        list(executor.execute(RUNS, store, log))
    assert (log.starts, ray_workers.executions(notes), store.run_ids()) == ([], [], [])


def test_execute_starts_as_many_actors_as_fit_and_gives_large_runs_larger_workers(
    store: Store, notes: Path
):
    needs = 2**29
    place = profile(actors=3).model_copy(update={"larger": LargerWorkers(memory=needs)})
    factory = partial(ray_workers.hungry, notes, RUNS[0].run_id, needs)
    log = Log()
    outcomes = list(RayExecutor(place, worker_factory=factory).execute(RUNS[:4], store, log))
    assert states(outcomes) == {"committed": 4}
    room = "room for 2 of 3 actors, with 1 CPU and 256MiB of memory: "
    assert any(line.startswith(room) for line in log.waits)
    assert "1 run again on larger workers" in log.waits
    assert store.get(RUNS[0].run_id).details["retries"] == [
        {"cause": "out of memory", "larger": {"memory": needs}, "memory": needs}
    ]
    assert "retries" not in store.get(RUNS[1].run_id).details


def test_execute_into_an_object_store_needs_nothing_in_common_but_its_address(notes: Path):
    with running_s3_server() as server:
        options = {
            "key": KEY,
            "secret": SECRET,
            "client_kwargs": {"endpoint_url": server.url, "region_name": REGION},
        }
        store = open_store(f"s3://{server.bucket()}/results", mode="write", options=options)
        executor = RayExecutor(profile(), worker_factory=partial(ray_workers.failing, notes))
        outcomes = list(executor.execute(RUNS, store, Log()))
        assert states(outcomes) == {"committed": 8, "failed": 8}
        done = sorted(o.planned.run_id for o in outcomes if o.state == "committed")
        assert store.run_ids() == done
        assert store.damaged() == []
        assert len(store.failures()) == 8
        assert states(list(executor.execute(RUNS, store, Log()))) == {"present": 8, "failed": 8}


def test_execute_where_the_workers_see_another_store_says_so_and_computes_nothing(notes: Path):
    # Memory is a store of its own in each process, as a folder is on each machine.
    executor = RayExecutor(profile(), worker_factory=partial(ray_workers.quick, notes))
    store = open_store(f"memory://{notes}", mode="write")
    with pytest.raises(StoreError, match="is another store on"):
        list(executor.execute(RUNS, store, Log()))
    assert ray_workers.executions(notes) == []


def test_execute_where_no_worker_can_start_says_why(store: Store):
    executor = RayExecutor(profile(), worker_factory=ray_workers.missing)
    with pytest.raises(ExecutionFailed, match="ModuleNotFoundError: No module named 'unobtainium'"):
        list(executor.execute(RUNS, store, Log()))


def test_execute_where_every_worker_dies_while_starting_fails_after_the_timeout(
    store: Store,
):
    executor = RayExecutor(profile(), worker_factory=ray_workers.stillborn, worker_timeout=10.0)
    with pytest.raises(ExecutionFailed, match="no worker for 10 seconds; a worker died while"):
        list(executor.execute(RUNS, store, Log()))
    assert store.failures() == []
