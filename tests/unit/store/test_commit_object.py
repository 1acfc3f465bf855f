"""Commits to an object store, on fsspec's in-memory one with operations that fail."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from acdc_pipeline.errors import NewerRun, StoreError, StoreFailed
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.backends.object import ObjectBackend
from acdc_pipeline.store.codec import encode
from tests import records

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
WHOLE_RUN = len([*encode(RECORD), "_COMMIT.json"])


class Died(BaseException):
    """The process is gone: nothing that handles errors may act on it."""


class InterceptedFileSystem(MemoryFileSystem):
    """An in-memory store that calls `before` before each operation that changes it.

    Like a real client of an object store, and unlike its parent, it puts one object at a time.
    """

    cachable = False
    lock = threading.Lock()

    def __init__(self, before: Callable[[str, str], None]) -> None:
        super().__init__()
        self.before = before

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self.before("put", path)
        with self.lock:
            super().pipe_file(path, value, mode=mode, **kwargs)

    def rm_file(self, path: str) -> None:
        self.before("delete", path)
        super().rm_file(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        self.before("delete", str(path))
        super().rm(path, recursive=recursive, maxdepth=maxdepth)


def store_with(tmp_path: Path, before: Callable[[str, str], None]) -> Store:
    root = f"/objects{tmp_path}"
    return Store(ObjectBackend(f"memory:/{root}", InterceptedFileSystem(before), root))


def nothing(operation: str, path: str) -> None:
    """Every operation succeeds."""


def dying_at(moment: int) -> Callable[[str, str], None]:
    """A process that is gone from its operation number `moment` on."""
    seen = 0

    def before(operation: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen >= moment:
            raise Died

    return before


def test_object_commit_that_dies_at_any_operation_leaves_nothing_visible_and_a_rerun_completes(
    tmp_path: Path,
):
    # The files and the marker are put, one after the other.
    for moment in range(1, WHOLE_RUN + 1):
        place = tmp_path / str(moment)
        with pytest.raises(Died):
            store_with(place, dying_at(moment)).commit(RECORD)
        store = store_with(place, nothing)
        assert not store.has(RUN_ID)
        assert (store.run_ids(), store.damaged()) == ([], [])
        assert store.commit(RECORD)
        assert store.get(RUN_ID) == RECORD


def test_object_commit_of_eight_racing_writers_is_won_by_one(tmp_path: Path):
    all_ready = threading.Barrier(8)

    def wait_before_the_marker(operation: str, path: str) -> None:
        if operation == "put" and path.endswith("_COMMIT.json"):
            all_ready.wait()

    stores = [store_with(tmp_path, wait_before_the_marker) for _ in range(8)]
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda s=store: answers.append(s.commit(RECORD)))
        for store in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]
    store = store_with(tmp_path, nothing)
    assert store.get(RUN_ID) == RECORD
    # The seven deleted what they had put: one attempt and the marker are left.
    assert len(store.backend.fs.find(store.backend.path("runs"))) == WHOLE_RUN


def test_object_commit_that_fails_deletes_its_own_files(tmp_path: Path):
    def refuse_the_marker(operation: str, path: str) -> None:
        if operation == "put" and path.endswith("_COMMIT.json"):
            raise PermissionError("access denied")

    store = store_with(tmp_path, refuse_the_marker)
    with pytest.raises(StoreError) as caught:
        store.commit(RECORD)
    assert "permission denied" in str(caught.value)
    assert store.url in str(caught.value)
    assert store.backend.fs.find(store.backend.root) == []


def test_object_commit_whose_marker_arrives_but_not_the_answer_is_ours(tmp_path: Path):
    """The client repeats what gets no answer, and meets its own marker."""
    store = store_with(tmp_path, nothing)
    path = store.backend.path("runs", RUN_ID, "_COMMIT.json")

    class RepeatingFileSystem(InterceptedFileSystem):
        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kw: Any) -> None:
            super().pipe_file(path, value, mode=mode, **kw)
            if mode == "create":
                super().pipe_file(path, value, mode=mode, **kw)

    repeating = Store(replace(store.backend, fs=RepeatingFileSystem(nothing)))
    assert repeating.commit(RECORD)
    assert store.get(RUN_ID) == RECORD
    assert store.backend.fs.exists(path)


def test_object_commit_that_never_learns_of_its_marker_deletes_nothing_it_may_name(
    tmp_path: Path,
):
    """The marker is put and the answer lost; then the server is back, and would delete files."""

    class ForgetfulFileSystem(InterceptedFileSystem):
        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kw: Any) -> None:
            super().pipe_file(path, value, mode=mode, **kw)
            if mode == "create":
                raise TimeoutError("no answer")

    store = store_with(tmp_path, nothing)
    forgetful = Store(replace(store.backend, fs=ForgetfulFileSystem(nothing)))
    with pytest.raises(StoreFailed, match="no answer"):
        forgetful.commit(RECORD)
    assert store.get(RUN_ID) == RECORD
    assert not store.commit(RECORD)


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
def test_object_commit_understands_every_way_of_saying_that_the_marker_is_there(
    tmp_path: Path, code: str
):
    """Clients give some of these answers a meaning of their own, and keep the code inside."""
    rival = store_with(tmp_path, nothing)

    class Answer(Exception):
        response: ClassVar = {"Error": {"Code": code}}

    class CodedFileSystem(InterceptedFileSystem):
        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kw: Any) -> None:
            try:
                super().pipe_file(path, value, mode=mode, **kw)
            except FileExistsError:
                raise OSError(errno.EINVAL, "a precondition did not hold") from Answer()

    def rival_is_faster(operation: str, path: str) -> None:
        if operation == "put" and path.endswith("_COMMIT.json"):
            rival.commit(RECORD)

    store = Store(replace(rival.backend, fs=CodedFileSystem(rival_is_faster)))
    store.check_writable()
    assert not store.commit(RECORD)
    assert rival.get(RUN_ID) == RECORD


def test_object_store_that_overwrites_what_exists_is_refused_before_the_run(tmp_path: Path):
    class OverwritingFileSystem(InterceptedFileSystem):
        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kw: Any) -> None:
            super().pipe_file(path, value, **kw)

    backend = store_with(tmp_path, nothing).backend
    with pytest.raises(StoreError) as caught:
        Store(replace(backend, fs=OverwritingFileSystem(nothing))).check_writable()
    assert "If-None-Match" in str(caught.value)
    assert caught.value.exit_code == 2
    assert backend.fs.find(backend.root) == []


def test_object_commit_after_a_lost_race_reads_the_winners_run(tmp_path: Path):
    rival = store_with(tmp_path, nothing)

    def rival_is_faster(operation: str, path: str) -> None:
        if operation == "put" and path.endswith("_COMMIT.json"):
            rival.commit(RECORD)

    assert not store_with(tmp_path, rival_is_faster).commit(RECORD)
    assert rival.get(RUN_ID) == RECORD


def test_object_commit_that_meets_a_newer_run_leaves_it_alone(tmp_path: Path):
    rival = store_with(tmp_path, nothing)
    path = rival.backend.path("runs", RUN_ID, "_COMMIT.json")
    newer = b'{"schema_version": 99}'

    def newer_program_is_faster(operation: str, at: str) -> None:
        if operation == "put" and at.endswith("_COMMIT.json") and not rival.backend.fs.exists(path):
            rival.backend.fs.pipe_file(path, newer)

    with pytest.raises(NewerRun, match="newer version"):
        store_with(tmp_path, newer_program_is_faster).commit(RECORD)
    assert rival.backend.fs.find(rival.backend.root) == [path]
    assert rival.backend.fs.cat_file(path) == newer


def test_object_store_that_cannot_be_written_says_so_before_the_run(tmp_path: Path):
    def refuse(operation: str, path: str) -> None:
        raise PermissionError("access denied")

    with pytest.raises(StoreError) as caught:
        store_with(tmp_path, refuse).check_writable()
    assert "permission denied" in str(caught.value)


class BucketFileSystem(InterceptedFileSystem):
    """Paths begin with a bucket, as in S3; only the bucket `here` exists."""

    root_marker = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("memory://")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if path != "here":
            raise FileNotFoundError(path)
        return {"name": path, "type": "directory", "size": 0}


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.commit(RECORD),
        lambda store: store.check_writable(),
        lambda store: store.run_ids(),
        lambda store: store.summaries(),
        lambda store: store.resolve("ab"),
    ],
)
def test_object_store_in_a_missing_bucket_is_a_store_error(use: Callable[[Store], object]):
    store = Store(ObjectBackend("s3://gone/runs", BucketFileSystem(nothing), "gone/runs"))
    with pytest.raises(StoreError) as caught:
        use(store)
    assert str(caught.value).startswith("s3://gone/runs: the bucket 'gone' does not exist")


def test_object_store_empty_in_an_existing_bucket_has_no_runs():
    store = Store(ObjectBackend("s3://here/runs", BucketFileSystem(nothing), "here/runs"))
    assert store.run_ids() == []


def test_object_store_leaves_local_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    open_store("memory://elsewhere").check_writable()
    assert list(tmp_path.iterdir()) == []
