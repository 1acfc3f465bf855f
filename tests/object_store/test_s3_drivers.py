"""Two drivers on one store in S3: they share the runs, and one that dies blocks nobody for long."""

from __future__ import annotations

import time

import pytest

from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.progress import SilentSweep
from acdc_pipeline.store import open_store
from acdc_pipeline.store.claims import Claims
from tests.drivers import Recording, check_two_drivers
from tests.planned_runs import planned

RUNS = [
    planned(model=model, threshold=threshold)
    for model in ("zoo:a", "zoo:b")
    for threshold in (0.1, 0.01, 0.001)
]


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/runs"


def test_s3_two_drivers_execute_every_run_once_and_both_end(url: str):
    check_two_drivers(url, RUNS)


def test_s3_driver_that_dies_leaves_its_run_to_another_after_its_lease(url: str):
    dead = Claims(open_store(url).backend, lease=1.5, renew=False)
    assert dead.others() == set()
    assert dead.take(RUNS[1].run_id)
    worker, began = Recording(), time.monotonic()
    executor = LocalExecutor(lambda: worker)
    outcomes = list(executor.execute(RUNS, open_store(url), SilentSweep()))
    assert time.monotonic() - began >= 1.5
    assert [o.state for o in outcomes] == ["committed"] * len(RUNS)
    assert worker.executed[-1] == RUNS[1].run_id
    assert sorted(worker.executed) == sorted(run.run_id for run in RUNS)
