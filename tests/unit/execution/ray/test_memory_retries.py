"""Runs whose memory runs out on Ray: half of the budget, then larger workers, and the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.execution.out_of_memory import is_out_of_memory
from acdc_pipeline.execution.ray import dispatch
from acdc_pipeline.execution.ray.actor import Finished, RunActor, RunResult, Settings
from acdc_pipeline.execution.ray.dispatch import Dispatcher, Retry
from acdc_pipeline.execution.ray.shards import ActorChannel
from acdc_pipeline.execution.ray.worker_pool import (
    Event,
    PooledWorker,
    RunEnded,
    WorkerLost,
    WorkerPool,
)
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.specs import WorkerProfile, find_profile
from acdc_pipeline.specs.profile import LargerWorkers
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.claims import Claims
from acdc_pipeline.store.failure import failure_of
from acdc_pipeline.store.probe import StoreProbe
from tests.planned_runs import planned
from tests.unit.execution.test_out_of_memory import FULL, Messages, Needs

CROWDED, DIED = "the node is low on memory", "its process was killed"
PROFILE = find_profile("cluster").model_copy(update={"memory": FULL, "attempts": 1})
LARGER = PROFILE.model_copy(update={"larger": LargerWorkers(memory=8 * FULL, gpus=0.5)})

Answer = Callable[[PlannedRun, Sequence[Mapping[str, object]]], RunResult | str]


class ScriptedPool(WorkerPool):
    """One worker whose runs end at once as `answer` says: with a result, or with its death.

    Args:
        starting: the number of workers that have no room.
    """

    def __init__(self, answer: Answer, starting: int = 0) -> None:
        self.answer = answer
        self.worker = PooledWorker(None, "host:1", "node")
        self._workers = {self.worker.name: self.worker}
        self._starting = {PooledWorker(None) for _ in range(starting)}
        self._max_workers = 1
        self.start_error = None
        self.events: list[Event] = []
        self.retries: list[list[Mapping[str, object]]] = []

    def start_workers(self, wanted: int) -> int:
        return 0

    def assign(
        self,
        worker: PooledWorker,
        planned: PlannedRun,
        attempt: int,
        retries: Sequence[Mapping[str, object]] = (),
    ) -> None:
        worker.planned, worker.attempt = planned, attempt
        self.retries.append([*retries])
        found = self.answer(planned, retries)
        ended = worker.end_attempt()
        worker.planned = planned
        self.events.append(
            WorkerLost(worker, ended, found, found == CROWDED)
            if isinstance(found, str)
            else RunEnded(worker, ended, found)
        )

    def poll_positions(self) -> None:
        pass

    def wait(self, seconds: float) -> Event | None:
        self.worker.planned = None
        return self.events.pop()

    def cancel_runs(self, seconds: float) -> Iterator[Event]:
        return iter(())


class Heard(Messages):
    """Has no use for losses."""

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, mode="write")


@pytest.fixture(autouse=True)
def no_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "draining_nodes", frozenset[str])


def dispatched(
    answer: Answer, store: Store, profile: WorkerProfile = PROFILE, starting: int = 0
) -> tuple[list[Outcome], Dispatcher, ScriptedPool, list[str]]:
    pool, heard = ScriptedPool(answer, starting), Heard()
    retries: dict[str, list[Retry]] = {}
    with Claims(store.backend, 60.0) as claims:
        made = Dispatcher([planned()], store, claims, heard, pool, profile, 60.0, retries)
        return list(made.outcomes()), made, pool, heard.messages


def finished_after(deaths: int, reason: str) -> Answer:
    left = [reason] * deaths

    def answer(planned: PlannedRun, retries: Sequence[Mapping[str, object]]) -> RunResult | str:
        return left.pop() if left else Finished("committed", 3, 5)

    return answer


def test_worker_ended_for_the_memory_of_its_node_is_followed_by_half_the_budget(store: Store):
    (outcome,), _, pool, messages = dispatched(finished_after(2, CROWDED), store)
    assert outcome.state == "committed"
    assert outcome.attempts == 3
    half = {"cause": "out of memory, worker ended", "halvings": 1, "memory": FULL // 2}
    quarter = {**half, "halvings": 2, "memory": FULL // 4}
    assert pool.retries == [[], [half], [half, quarter]]
    assert [line.rpartition(": ")[2] for line in messages] == [
        "again with 1/2 of the budget",
        "again with 1/4 of the budget",
    ]


def test_memory_that_never_suffices_fails_with_what_would_help(store: Store):
    (outcome,), made, pool, _ = dispatched(finished_after(9, CROWDED), store)
    assert len(pool.retries) == 4
    assert made.too_large == []
    assert isinstance(outcome.error, OutOfMemoryBudget)
    assert "ran out 4 times, the last with 1/8 of the budget" in outcome.error.problem
    assert "larger" in str(outcome.error.fix)
    assert store.failure(planned().run_id) is not None


def test_with_larger_workers_the_run_is_kept_for_them(store: Store):
    def fails(planned: PlannedRun, retries: Sequence[Mapping[str, object]]) -> RunResult:
        return failure_of(planned.run, OutOfMemoryBudget("too much"), worker="host:1")

    for answer in (finished_after(9, CROWDED), fails):
        outcomes, made, _, messages = dispatched(answer, store, LARGER)
        assert outcomes == []
        assert [run.run_id for run in made.too_large] == [planned().run_id]
        assert "again on larger workers, after the other runs" in messages[-1]
        assert store.failure(planned().run_id) is None


def test_other_deaths_count_as_attempts(store: Store):
    (outcome,), _, pool, _ = dispatched(finished_after(1, DIED), store, LARGER)
    assert outcome.state == "failed"
    assert pool.retries == [[]]


def test_workers_without_room_are_reported_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dispatch, "MESSAGE_INTERVAL", 0.0)
    monkeypatch.setattr(dispatch, "POLL_INTERVAL", 0.0)
    answer = finished_after(2, CROWDED)
    _, _, _, messages = dispatched(answer, store, starting=3)
    said = [line for line in messages if "workers run" in line]
    assert said == ["1 of 4 workers run; the others wait for room, 'ray status' says why"]


def test_actor_begins_with_the_reduced_budget_and_its_record_has_all_retries(store: Store):
    worker = Needs(300, MemoryError())
    settings = Settings(StoreProbe(store), "cpu", FULL, {"CPU": 1.0}, 60.0, lambda _: worker)
    actor = RunActor(settings)
    actor._worker = worker
    half = {"cause": "out of memory, worker ended", "halvings": 1, "memory": FULL // 2}
    found = actor._execute(planned(), [half])
    assert isinstance(found, Finished)
    assert worker.budgets == [512, 256]
    assert len(found.messages) == 1
    (run_id,) = store.run_ids()
    assert store.get(run_id).details["retries"] == [half, {"cause": "out of memory", "memory": 256}]


def test_shard_that_ray_ends_for_its_memory_counts_as_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
):
    def fail(*_: Any) -> None:
        raise OutOfMemoryError("Task was killed due to the node running low on memory.")

    monkeypatch.setattr(ray, "get", fail)
    channel = ActorChannel.__new__(ActorChannel)
    channel._answer = ray.ObjectRef.nil()
    with pytest.raises(Exception, match="low on memory") as raised:
        channel.receive()
    assert is_out_of_memory(raised.value)


def test_larger_workers_have_the_other_fields_of_the_profile():
    larger = LARGER.enlarged
    assert larger is not None
    assert (larger.memory, larger.gpus, larger.larger) == (8 * FULL, 0.5, None)
    assert (larger.actors, larger.cpus) == (LARGER.actors, LARGER.cpus)
    assert PROFILE.enlarged is None
    assert WorkerProfile.from_plain(LARGER.plain()) == LARGER
