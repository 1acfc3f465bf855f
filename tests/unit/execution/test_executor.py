"""The local executor: every run once, in order, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput, StoreError
from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.executor import Executor, LocalExecutor
from acdc_pipeline.execution.progress import Progress, SweepListener
from acdc_pipeline.execution.run_worker import RunWorker
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.graph import Decision
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, Store, open_store
from tests import records
from tests.sweeps import planned


class Scripted:
    """Executes `records.record` for each run, or does what `instead` says for its seed."""

    def __init__(self, instead: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.instead: Mapping[int, Callable[[], object]] = instead or {}
        self.executed: list[int] = []
        self.found: list[tuple[Decision, ...]] = []

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        self.executed.append(run.seed)
        if checkpoint is not None:
            self.found.append(checkpoint.load({}))
            checkpoint.offer(records.record().decisions, {})
        if progress is not None:
            progress.start(5, "label")
            progress.advance(2, 1, 3)
            progress.finish()
        self.instead.get(run.seed, lambda: None)()
        return records.record(run.seed)


class Heard:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def waiting(self, reason: str) -> None:
        self.said.append(("waiting", reason))

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        self.said.append(("started", worker, planned.run.seed, attempt))

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        self.said.append(("advanced", worker, tested, kept, left))

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        self.said.append(("lost", worker))

    def ended(self, outcome: Outcome) -> None:
        self.said.append(("ended", outcome.state, outcome.planned.run.seed))


def fails(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


RUNS = [planned(seed) for seed in range(4)]


def execute(
    worker: RunWorker, store: Store, runs: Sequence[PlannedRun] = RUNS, heard: Heard | None = None
) -> list[Outcome]:
    return list(LocalExecutor(lambda: worker).execute(runs, store, heard or Heard()))


def test_executor_follows_the_protocols():
    assert isinstance(LocalExecutor(Scripted), Executor)
    assert isinstance(Heard(), SweepListener)


def test_executor_commits_every_run_in_the_order_given(store: Store):
    outcomes = execute(Scripted(), store)
    assert [(o.planned.run.seed, o.state, o.attempts) for o in outcomes] == [
        (seed, "committed", 1) for seed in range(4)
    ]
    assert [o.edges_kept for o in outcomes] == [3] * 4
    assert all(store.get(run.run_id) == records.record(run.run.seed) for run in RUNS)


def test_executor_skips_what_the_store_has(store: Store):
    store.commit(records.record(1))
    worker = Scripted()
    outcomes = execute(worker, store)
    assert [o.state for o in outcomes] == ["committed", "present", "committed", "committed"]
    assert worker.executed == [0, 2, 3]


def test_executor_run_committed_by_another_meanwhile_is_present(store: Store):
    worker = Scripted({2: lambda: store.commit(records.record(2))})
    outcomes = execute(worker, store)
    assert [o.state for o in outcomes] == ["committed", "committed", "present", "committed"]


def test_executor_run_that_fails_is_recorded_and_does_not_stop_the_others(store: Store):
    error = ExecutionFailed("the search and its recheck disagree", fix="report it")
    outcomes = execute(Scripted({1: fails(error)}), store)
    assert [o.state for o in outcomes] == ["committed", "failed", "committed", "committed"]
    assert str(outcomes[1].error) == str(error)
    (failure,) = store.failures()
    assert (failure.run_id, failure.kind) == (RUNS[1].run_id, "ExecutionFailed")
    assert len(store.run_ids()) == 3


def test_executor_makes_a_new_worker_after_an_error_that_nobody_foresaw(store: Store):
    workers = [Scripted({1: fails(KeyError("lost"))}), Scripted()]
    made = iter(workers)
    outcomes = list(LocalExecutor(lambda: next(made)).execute(RUNS, store, Heard()))
    assert [o.state for o in outcomes] == ["committed", "failed", "committed", "committed"]
    assert [worker.executed for worker in workers] == [[0, 1], [2, 3]]
    error = outcomes[1].error
    assert isinstance(error, AcdcError)
    assert error.problem == "KeyError: 'lost'"
    assert store.failures()[0].traceback[-1] == "KeyError: 'lost'"


def test_executor_run_that_works_later_clears_its_failure(store: Store):
    execute(Scripted({1: fails(ExecutionFailed("no"))}), store)
    execute(Scripted(), store)
    assert store.failures() == []


def test_executor_says_what_it_does(store: Store):
    store.commit(records.record(0))
    heard = Heard()
    execute(Scripted(), store, RUNS[:2], heard)
    assert heard.said == [
        ("started", "local", 0, 1),
        ("ended", "present", 0),
        ("started", "local", 1, 1),
        ("advanced", "local", 0, 0, 5),
        ("advanced", "local", 2, 1, 3),
        ("ended", "committed", 1),
    ]


def test_executor_closed_in_the_middle_starts_nothing_more(store: Store):
    worker = Scripted()
    outcomes = LocalExecutor(lambda: worker).execute(RUNS, store, Heard())
    next(outcomes)
    outcomes.close()
    assert worker.executed == [0]
    assert store.run_ids() == [RUNS[0].run_id]


def test_executor_interrupted_keeps_what_was_committed_and_records_no_failure(store: Store):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(Scripted({2: interrupt}), store)
    assert store.run_ids() == sorted(run.run_id for run in RUNS[:2])
    assert store.failures() == []


def test_executor_whose_store_gives_out_stops_with_its_error(store: Store, tmp_path: Path):
    def take_the_store_away() -> None:
        (tmp_path / "runs").rename(tmp_path / "moved")
        (tmp_path / "runs").write_text("a file")

    worker = Scripted({1: take_the_store_away})
    with pytest.raises(StoreError):
        execute(worker, store)
    assert worker.executed == [0, 1]


def test_executor_without_a_worker_stops_at_once_and_records_nothing(store: Store):
    def make() -> RunWorker:
        raise InvalidInput("device 'cuda' is not on this machine")

    with pytest.raises(InvalidInput, match="cuda"):
        list(LocalExecutor(make).execute(RUNS, store, Heard()))
    assert store.failures() == []


def test_executor_makes_no_worker_where_everything_is_there(store: Store):
    def make() -> RunWorker:
        raise AssertionError

    for run in RUNS:
        store.commit(records.record(run.run.seed))
    states = [o.state for o in LocalExecutor(make).execute(RUNS, store, Heard())]
    assert states == ["present"] * 4


def test_executor_lets_a_run_go_on_from_what_an_earlier_attempt_kept(store: Store):
    first, second = Scripted({0: fails(ExecutionFailed("cut off"))}), Scripted()
    for worker in (first, second):
        list(LocalExecutor(lambda w=worker: w, checkpoint=0.0).execute(RUNS[:1], store, Heard()))
    assert first.found == [()]
    assert second.found == [records.record().decisions]
    assert store.checkpoint(RUNS[0].run_id, {}) == ()  # committed now
