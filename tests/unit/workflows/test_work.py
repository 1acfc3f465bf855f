"""A plan held against a store: cached, to run, failed before."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.failure import failure_of
from acdc_pipeline.workflows.sweep import SweepPlan
from acdc_pipeline.workflows.work import plan_sweep_work
from tests import records
from tests.sweeps import planned

PLAN = SweepPlan("s", tuple(planned(seed) for seed in (3, 1, 2, 0)), (), {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def fail(store: Store, seed: int) -> None:
    store.record_failure(failure_of(planned(seed).run, ValueError("no"), worker="local"))


def test_work_on_an_empty_store_is_the_plan_in_its_order(store: Store):
    work = plan_sweep_work(PLAN, store)
    assert work.that_are("to run") == PLAN.runs
    assert work.that_are("cached", "failed before") == ()
    assert not store.folder or list(store.folder.iterdir()) == []


def test_work_tells_what_is_there_from_what_failed_and_what_is_left(store: Store):
    store.commit(records.record(1))
    fail(store, 2)
    work = plan_sweep_work(PLAN, store)
    assert [work.standing(run) for run in PLAN.runs] == [
        "to run",
        "cached",
        "failed before",
        "to run",
    ]
    assert work.that_are("to run", "failed before") == (planned(3), planned(2), planned(0))
    assert [failure.problem for failure in work.failures.values()] == ["no"]


def test_work_on_a_run_that_failed_and_was_committed_later_is_cached(store: Store):
    store.commit(records.record(1))
    fail(store, 1)
    work = plan_sweep_work(PLAN, store)
    assert work.standing(planned(1)) == "cached"
    assert work.failures == {}


def test_work_on_a_run_that_had_too_small_a_budget_is_to_be_done_again(store: Store):
    error = OutOfMemoryBudget("16 prompts need 6.3 MB, the budget is 0.0 MB")
    store.record_failure(failure_of(planned(1).run, error, worker="local"))
    work = plan_sweep_work(PLAN, store)
    assert work.standing(planned(1)) == "to run"
    assert work.failures == {}


def test_work_on_a_damaged_run_is_to_be_done_again(store: Store, tmp_path: Path):
    store.commit(records.record(1))
    edges = tmp_path / "runs" / planned(1).run_id / "edges.parquet"
    edges.write_bytes(b"x" * edges.stat().st_size)
    assert plan_sweep_work(PLAN, store).standing(planned(1)) == "to run"


def test_work_on_a_run_whose_cause_cannot_be_read_is_to_be_done_and_says_so(
    store: Store, tmp_path: Path
):
    fail(store, 1)
    (tmp_path / "failed" / planned(1).run_id / "FAILED.json").write_text("{")
    work = plan_sweep_work(PLAN, store)
    assert work.standing(planned(1)) == "to run"
    assert [damage.where for damage in work.damaged] == [f"run {planned(1).run_id}"]
