"""Independent jobs over workers, some of which die; and evaluations whose parts are such jobs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.shards.jobs import JobPool
from acdc_pipeline.execution.shards.local import start_process
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import ProfileMethod, RunSpec, TaskSpec, find_task
from acdc_pipeline.store.failure import RemoteFailure
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.stored_evaluation import evaluation_figures
from tests.shard_channels import Deaths, planned, pool_of, random_task, sharded_worker, stored

MEMORY = 2**28


def square(shard: Shard, number: int) -> int:
    return number * number


def sleep(shard: Shard, seconds: float) -> None:
    time.sleep(seconds)


def refuse(shard: Shard, name: str) -> None:
    raise InvalidInput("is refused", field=name)


def fail(shard: Shard) -> None:
    raise ZeroDivisionError


def test_jobs_return_their_results_in_the_order_of_submission():
    pool = pool_of(3)
    results = [pool.submit((square, (number,))) for number in range(20)]
    assert [result.result() for result in results] == [number**2 for number in range(20)]
    pool.close()
    assert pool.submit((square, (3,))).result() == 9  # it starts again
    pool.close()


def test_closing_a_pool_ends_processes_that_are_at_work():
    pool = JobPool(start_process(1, "cpu", 1), 1)
    pool.submit((square, (2,))).result()
    sleeping = pool.submit((sleep, (120.0,)))
    while not sleeping.running():
        time.sleep(0.01)
    time.sleep(0.5)  # its thread waits for the answer
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 60  # not after the job
    assert isinstance(sleeping.exception(), ExecutionFailed)


def test_error_of_a_job_is_raised_where_its_result_is_read_and_others_go_on():
    pool = pool_of(2)
    refused, failed = pool.submit((refuse, ("metric",))), pool.submit((fail, ()))
    fine = pool.submit((square, (4,)))
    with pytest.raises(InvalidInput, match="metric: is refused"):
        refused.result()
    with pytest.raises(RemoteFailure, match="ZeroDivisionError"):
        failed.result()
    assert fine.result() == 16
    pool.close()


@pytest.mark.parametrize("before", [True, False])
def test_job_of_a_worker_that_dies_is_repeated_by_another_one(before: bool):
    reports: list[str] = []
    pool = pool_of(1, Deaths({0: (1, 2)}, before=before), reports)
    results = [pool.submit((square, (number,))) for number in range(4)]
    assert [result.result() for result in results] == [0, 1, 4, 9]
    assert reports == ["worker 1 of 1 died (the test ended it); another one replaces it"] * 2
    pool.close()


def test_worker_that_dies_again_and_again_fails_the_job():
    pool = pool_of(1, Deaths({0: range(9)}))
    with pytest.raises(ExecutionFailed, match="worker 1 of 1 died 4 times"):
        pool.submit((square, (2,))).result()
    pool.close()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The function that evaluates one circuit of a tiny model in full, over a pool or none."""
    task = random_task(tmp_path_factory.mktemp("pairs"))
    run = planned(task, "gpt2", "eap", {"edges": 12})
    circuit = Worker(device="cpu", memory=MEMORY).execute(run, task).circuit
    assert circuit is not None

    plan = evaluation_plan("full", null=12, draws=2, restarts=1, resamples=2)

    def figures(pool: JobPool | None) -> dict[str, Any]:
        worker = Worker(device="cpu", memory=MEMORY, pool=pool)
        return evaluation_figures(evaluate(worker, run, task, circuit, [circuit], plan))

    return figures


def test_full_evaluation_has_the_same_figures_over_any_number_of_workers(evaluated: Any):
    one = evaluated(pool_of(1))
    assert evaluated(pool_of(2)) == one
    deaths = Deaths({0: (2,), 2: (1,)})
    assert evaluated(pool_of(3, deaths)) == one
    assert deaths.died


def test_full_evaluation_over_workers_is_that_of_one_process_up_to_rounding(evaluated: Any):
    _assert_close(evaluated(pool_of(2)), evaluated(None))


def test_evaluation_over_workers_that_die_again_and_again_fails(evaluated: Any):
    with pytest.raises(ExecutionFailed, match="died 4 times"):
        evaluated(pool_of(1, Deaths({0: range(99)})))


@pytest.fixture(scope="module")
def profiled() -> tuple[RunSpec, TaskSpec, dict[str, bytes]]:
    """A profile of a model that has induction heads, whose backups are searched for."""
    task = find_task("induction")
    method = ProfileMethod.with_defaults().model_copy(update={"sequences": 4, "tokens": 64})
    run = plan_run(task, "zoo:attn-2l", method=method, prompts=8, seed=0, dtype="float32")
    record = Worker(device="cpu", memory=2**30).execute(run, task)
    scores = {row.metric.partition("@")[0] for row in record.heads}
    assert {"backup_induction", "zero_ablation"} <= scores
    return run, task, stored(record)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_head_profile_over_workers_has_the_bytes_of_one_process(shards: int, profiled: Any):
    run, task, expected = profiled
    deaths = Deaths({0: (1,), 2: (1,)})
    reports: list[str] = []
    worker = sharded_worker(shards, deaths, reports.append)
    assert stored(worker.execute(run, task)) == expected
    assert deaths.died == len(worker.losses) > 0
    assert reports == worker.losses


def _assert_close(found: Any, expected: Any) -> None:
    """Compare figures: numbers up to the rounding of products of other sizes in float64."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            _assert_close(found[name], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    else:
        assert found == expected
