"""Why runs failed, kept beside the runs: in a local folder and in an object store."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from acdc_pipeline.errors import DamagedRun, ExecutionFailed, PromptError, StoreError, UnknownName
from acdc_pipeline.store import RunFailure, Store, open_store
from tests import records

RUN_ID = records.spec().run_id()
FAILURE = RunFailure(
    spec=records.spec(),
    kind="PromptError",
    problem="an answer is two tokens",
    where="pairs.jsonl:3",
    field="correct",
    allowed="one token",
    fix="shorten it",
    attempts=1,
    worker="local",
)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield open_store(tmp_path / "a [store]*")
        return
    url = f"memory://bucket/{tmp_path.name}"
    yield open_store(url)
    memory = fsspec.filesystem("memory")
    if memory.exists(url):
        memory.rm(url, recursive=True)


def failed_file(store: Store, run_id: str = RUN_ID) -> str:
    return store.backend.path("failed", run_id, "FAILED.json")


def test_failure_is_given_back_as_it_was_recorded(store: Store):
    assert store.failure(RUN_ID) is None
    assert store.failures() == []
    store.record_failure(FAILURE)
    assert store.failure(RUN_ID) == FAILURE
    assert store.failures() == [FAILURE]
    assert store.run_ids() == []


def test_failure_recorded_again_replaces_the_first(store: Store):
    store.record_failure(FAILURE)
    later = replace(FAILURE, kind="KeyError", problem="'x'", attempts=4, traceback=("a", "b"))
    store.record_failure(later)
    assert store.failures() == [later]


def test_failure_is_cleared_by_a_commit_of_the_run(store: Store):
    store.record_failure(FAILURE)
    assert store.commit(records.record())
    assert store.failure(RUN_ID) is None
    assert store.backend.fs.find(store.backend.path("failed")) == []


def test_failure_of_another_run_stays_when_one_is_committed(store: Store):
    other = replace(FAILURE, spec=records.spec(1))
    store.record_failure(other)
    store.commit(records.record())
    assert store.failures() == [other]


def test_failure_that_a_commit_could_not_clear_is_not_listed(store: Store):
    store.commit(records.record())
    store.record_failure(FAILURE)  # as if the process had died before it could clear it
    assert store.failures() == []


def test_failure_cleared_twice_is_no_error(store: Store):
    store.record_failure(FAILURE)
    store.backend.remove_failure(RUN_ID)
    store.backend.remove_failure(RUN_ID)
    assert store.failures() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        json.dumps({"cause": None}).encode(),
    ],
)
def test_failure_file_that_cannot_be_read_is_reported_and_stops_nothing(
    store: Store, content: bytes
):
    other = replace(FAILURE, spec=records.spec(1))
    store.record_failure(other)
    store.record_failure(FAILURE)
    store.backend.fs.pipe_file(failed_file(store), content)
    assert store.failures() == [other]
    (damage,) = store.damaged_failures()
    assert str(damage).startswith(f"run {RUN_ID}: FAILED.json: cannot be read")
    with pytest.raises(DamagedRun):
        store.failure(RUN_ID)
    store.record_failure(FAILURE)
    assert store.damaged_failures() == []


def test_failure_file_of_another_run_is_damage(store: Store):
    store.record_failure(FAILURE)
    other = records.spec(1).run_id()
    data = store.backend.fs.cat_file(failed_file(store))
    store.backend.fs.makedirs(store.backend.path("failed", other), exist_ok=True)
    store.backend.fs.pipe_file(failed_file(store, other), data)
    (damage,) = store.damaged_failures()
    assert damage.where == f"run {other}"
    assert RUN_ID in damage.problem


def test_failure_names_that_are_no_run_ids_are_passed_over(store: Store):
    store.record_failure(FAILURE)
    store.backend.fs.makedirs(store.backend.path("failed", "..x"), exist_ok=True)
    store.backend.fs.pipe_file(store.backend.path("failed", "notes.txt"), b"mine")
    assert store.failures() == [FAILURE]
    assert store.damaged_failures() == []
    with pytest.raises(StoreError, match="not a run id"):
        store.failure("../x")


def test_failed_run_asked_for_by_its_first_digits_is_said_to_have_failed(store: Store):
    store.record_failure(FAILURE)
    with pytest.raises(UnknownName, match="failed") as raised:
        store.resolve(RUN_ID[:6])
    assert "--failed" in (raised.value.fix or "")


def test_cause_of_ours_is_the_same_error_again():
    error = FAILURE.error()
    assert type(error) is PromptError
    assert str(error) == (
        "pairs.jsonl:3: correct: an answer is two tokens\nallowed: one token\nfix: shorten it"
    )


def test_cause_that_is_no_error_of_ours_names_its_class():
    error = RunFailure(records.spec(), "KeyError", "'x'", 1, "local").error()
    assert type(error) is ExecutionFailed
    assert str(error) == "KeyError: 'x'"


def test_summaries_of_some_runs_are_those_that_are_there(store: Store):
    for seed in (0, 1, 2):
        store.commit(records.record(seed))
    wanted = [records.spec(seed).run_id() for seed in (1, 5)]
    assert [s.run_id for s in store.summaries(wanted)] == wanted[:1]


def test_whole_runs_are_those_that_are_there_and_undamaged(store: Store):
    for seed in (0, 1):
        store.commit(records.record(seed))
    ids = [records.spec(seed).run_id() for seed in (0, 1, 2)]
    path = next(
        p for p in store.backend.fs.find(store.backend.path("runs", ids[0])) if "edges" in p
    )
    store.backend.fs.pipe_file(path, b"x" * len(store.backend.fs.cat_file(path)))
    assert store.intact(ids) == {ids[1]}


def _record_and_clear(folder: str, times: int) -> None:
    store = open_store(folder)
    for _ in range(times):
        store.record_failure(FAILURE)
        store.backend.remove_failure(RUN_ID)


def test_processes_that_record_and_clear_one_failure_do_not_disturb_each_other(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    racing = [context.Process(target=_record_and_clear, args=(str(tmp_path), 40)) for _ in range(3)]
    for process in racing:
        process.start()
    for process in racing:
        process.join()
    assert [process.exitcode for process in racing] == [0, 0, 0]
    assert open_store(tmp_path).damaged_failures() == []
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []
