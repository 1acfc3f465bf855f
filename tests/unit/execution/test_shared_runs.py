"""Drivers that share the runs of one store: each run is executed by one of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.progress import SilentSweep
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.execution.shared_runs import SharedRuns
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.claims import Claims
from acdc_pipeline.store.failure import failure_of
from tests.drivers import Recording, check_two_drivers
from tests.planned_runs import planned


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", "write")


class Waiting(SilentSweep):
    """A listener that is told when only runs of other drivers are left."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.reasons: list[str] = []

    def waiting(self, reason: str) -> None:
        self.reasons.append(reason)
        self.told.set()


def runs_of(*models: str, thresholds: Sequence[float] = (0.1, 0.01, 0.001)) -> list[PlannedRun]:
    return [planned(model=model, threshold=t) for model in models for t in thresholds]


def execute(store: Store, runs: Sequence[PlannedRun], worker: Recording) -> list[Outcome]:
    return list(LocalExecutor(lambda: worker).execute(runs, store, SilentSweep()))


def test_two_drivers_at_once_execute_every_run_once_and_both_end(store: Store):
    check_two_drivers(store.url, runs_of("zoo:a", "zoo:b", "zoo:c", "zoo:d"))


def claimed_in_turn(store: Store, runs: Sequence[PlannedRun], others: Claims) -> list[PlannedRun]:
    """The runs of a driver while another one holds its claims, which it gives up when asked to."""

    def give_up(_: float) -> None:
        for run in runs:
            others.release(run.run_id)

    with Claims(store.backend) as own:
        shared = SharedRuns(runs, store, own, lambda reason: None, sleep=give_up)
        return [run for run, found in shared if not found]


def test_driver_keeps_to_a_prompt_set_then_begins_one_where_nobody_is(store: Store):
    runs = runs_of("zoo:a", "zoo:b", "zoo:c")
    a, b, c = runs[:3], runs[3:6], runs[6:]
    with Claims(store.backend) as others:
        assert others.take(a[0].run_id)
        assert others.take(b[1].run_id)
        order = claimed_in_turn(store, runs, others)
    # c is free; then the longest rest of what others are at, from its end; their own runs at last
    assert order == [*c, a[2], a[1], b[2], b[0], b[1], a[0]]


def test_driver_alone_takes_the_runs_in_the_order_given(store: Store):
    runs = runs_of("zoo:a", "zoo:b")
    with Claims(store.backend) as others:
        assert claimed_in_turn(store, runs, others) == runs


def test_driver_does_not_repeat_a_run_that_failed_for_another_meanwhile(store: Store):
    first, second = runs_of("zoo:a", thresholds=(0.1, 0.01))
    worker, waiting = Recording(), Waiting()
    outcomes: list[Outcome] = []

    def drive() -> None:
        executor = LocalExecutor(lambda: worker)
        outcomes.extend(executor.execute([first, second], open_store(store.url), waiting))

    thread = threading.Thread(target=drive)
    with Claims(store.backend) as claims:
        assert claims.take(first.run_id)
        thread.start()
        assert waiting.told.wait(60)
        error = ExecutionFailed("no room", fix="make some")
        store.record_failure(failure_of(first.run, error, worker="elsewhere"))
    thread.join()
    assert waiting.reasons == ["waiting for 1 run that other drivers execute"]
    assert worker.executed == [second.run_id]
    assert [(o.planned, o.state) for o in outcomes] == [(second, "committed"), (first, "failed")]
    assert str(outcomes[1].error) == str(error)


def test_driver_retries_a_run_that_failed_before_it_began(store: Store):
    def fail(run: RunSpec) -> None:
        raise ExecutionFailed("no room")

    runs = runs_of("zoo:a", thresholds=(0.1,))
    assert [o.state for o in execute(store, runs, Recording(fail))] == ["failed"]
    assert [o.state for o in execute(store, runs, Recording())] == ["committed"]


def test_driver_that_is_interrupted_gives_up_its_claim(store: Store):
    def interrupt(run: RunSpec) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(store, runs_of("zoo:a"), Recording(interrupt))
    assert sorted(store.backend.names("claims")) == []
