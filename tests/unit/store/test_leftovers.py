"""What writers leave behind is found and removed; what any run needs never is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import Store, StoredEvaluation, open_store
from acdc_pipeline.store.backends.base import (
    ABANDONED,
    CHECKPOINT,
    CLAIM,
    COMMITTED,
    HALF_INDEXED,
    HALF_WRITTEN,
    NO_RUN,
    PROBE,
    REPLACED,
)
from acdc_pipeline.store.claims import Claims
from acdc_pipeline.store.locks import lock
from tests import records

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
UNKNOWN = "0" * 20
DAY = 86400.0


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store with one run in it."""
    url = str(tmp_path / "runs") if request.param == "folder" else f"memory:/{tmp_path}"
    made = open_store(url, mode="write")
    made.commit(RECORD)
    return made


def attempt(store: Store, run_id: str, digit: str) -> str:
    """Leaves an attempt at `run_id` of eleven bytes, as a writer that died would; its path."""
    name = digit * 16
    parts = ("tmp", f"{run_id}.{name}") if store.folder else ("runs", run_id, name)
    put(store, "/".join((*parts, "edges.parquet")), b"half a file")
    if store.folder:
        Path(store.url, *parts[:-1], f"{parts[-1]}.lock").touch()
    return "/".join(parts)


def put(store: Store, path: str, data: bytes) -> None:
    if store.folder:
        Path(store.url, path).parent.mkdir(parents=True, exist_ok=True)
    store.backend.fs.pipe_file(store.backend.path(path), data)


def found(store: Store, *, days: float = 1.0, later: float = 0.0) -> dict[str, str]:
    """Paths and reasons of what is older than `days`, seen `later` days from now."""
    items = store.leftovers(older_than=days * DAY, now=time.time() + later * DAY)
    return {item.path: item.why for item in items}


def everything(store: Store) -> list[str]:
    return sorted(str(path) for path in store.backend.fs.find(store.backend.root))


def test_leftovers_of_a_clean_store_are_none(store: Store):
    assert found(store, days=0.0, later=100.0) == {}


def test_leftovers_of_a_store_that_does_not_exist_are_none(tmp_path: Path):
    assert found(open_store(tmp_path / "nothing"), days=0.0) == {}


def test_attempt_at_a_committed_run_is_left_over_at_any_age(store: Store):
    path = attempt(store, RUN_ID, "a")
    assert found(store, days=1000.0) == {path: COMMITTED}


def test_attempt_at_a_run_that_is_not_committed_counts_only_when_it_is_old(store: Store):
    path = attempt(store, UNKNOWN, "b")
    assert found(store, days=1.0) == {}
    assert found(store, days=1.0, later=1.1) == {path: ABANDONED}


def test_attempt_at_a_damaged_run_counts_only_when_it_is_old(store: Store):
    """It may be the one that is about to take the damaged run's place."""
    [edges] = [p for p in everything(store) if p.endswith("edges.parquet")]
    store.backend.fs.pipe_file(edges, b"damaged")
    path = attempt(store, RUN_ID, "a")
    assert found(store, days=1.0) == {}
    assert found(store, days=1.0, later=2.0) == {path: ABANDONED}


def test_leftovers_say_whose_they_are_and_how_large(store: Store):
    attempt(store, RUN_ID, "a")
    [item] = store.leftovers(older_than=DAY, now=time.time())
    assert (item.run_id, item.size) == (RUN_ID, 11)
    assert 0 <= item.age < DAY


def test_checkpoint_of_a_committed_run_is_left_over_and_that_of_another_when_it_is_old(
    store: Store,
):
    put(store, f"checkpoints/{RUN_ID}.parquet", b"decisions")
    put(store, f"checkpoints/{UNKNOWN}.parquet", b"decisions")
    assert found(store) == {f"checkpoints/{RUN_ID}.parquet": COMMITTED}
    assert found(store, later=2.0)[f"checkpoints/{UNKNOWN}.parquet"] == CHECKPOINT


def test_trial_of_writing_is_left_over_when_it_is_old(store: Store):
    path = f"tmp/probe.{'c' * 16}"
    put(store, path, b"")
    assert found(store) == {}
    assert found(store, later=2.0) == {path: PROBE}


@pytest.mark.parametrize("form", ["{run}.parquet.{suffix}", "{run}.{suffix}"])
def test_checkpoint_half_written_is_found_and_removed(tmp_path: Path, form: str):
    store = open_store(tmp_path, mode="write")
    store.commit(RECORD)
    committed, unknown = (
        f"checkpoints/{form.format(run=run, suffix='c' * 16)}" for run in (RUN_ID, UNKNOWN)
    )
    for path in (committed, unknown):
        put(store, path, b"half a file")
    assert found(store) == {committed: COMMITTED}
    assert found(store, later=2.0) == {committed: COMMITTED, unknown: CHECKPOINT}
    for item in store.leftovers(older_than=0.0, now=time.time() + 1):
        store.remove(item)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_write_of_a_checkpoint_that_is_killed_leaves_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = open_store(tmp_path, mode="write")
    path = leave_half_written(store, monkeypatch, "checkpoints", f"{UNKNOWN}.parquet")
    assert found(store, later=2.0) == {path: CHECKPOINT}


def test_write_of_a_probe_that_is_killed_leaves_what_is_found_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = open_store(tmp_path, mode="write")
    path = leave_half_written(store, monkeypatch, "tmp", f"probe.{'c' * 16}")
    assert found(store) == {}
    assert found(store, later=2.0) == {path: PROBE}
    for item in store.leftovers(older_than=0.0, now=time.time() + 1):
        store.remove(item)
    assert list((tmp_path / "tmp").iterdir()) == []


def leave_half_written(store: Store, monkeypatch: pytest.MonkeyPatch, *parts: str) -> str:
    """Write a file as a process that is killed before the rename; return the path it leaves."""

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(Path, "unlink", kill)  # a killed process tidies nothing
        with pytest.raises(Killed):
            store.backend.write(b"data", *parts)
    [left] = Path(store.url, *parts[:-1]).iterdir()
    assert left.name != parts[-1]
    return "/".join((*parts[:-1], left.name))


def test_things_with_other_names_are_nobodys_leftovers(store: Store):
    for path in ("tmp/notes.txt", f"runs/{RUN_ID}/mine/a.txt", "runs/README", "quarantine/mine/x"):
        put(store, path, b"kept")
    before = everything(store)
    assert found(store, days=0.0, later=100.0) == {}
    assert everything(store) == before


def test_removal_leaves_the_runs_and_nothing_else(store: Store):
    before = everything(store)
    attempt(store, RUN_ID, "a")
    attempt(store, UNKNOWN, "b")
    put(store, f"tmp/probe.{'c' * 16}", b"")
    put(store, f"checkpoints/{RUN_ID}.parquet", b"decisions")
    for item in store.leftovers(older_than=0.0, now=time.time() + 1):
        store.remove(item)
    assert everything(store) == before
    assert store.get(RUN_ID) == RECORD


def test_removal_of_what_is_gone_already_is_no_error(store: Store):
    attempt(store, RUN_ID, "a")
    [item] = store.leftovers(older_than=0.0, now=time.time())
    store.remove(item)
    store.remove(item)
    assert found(store, days=0.0) == {}


def test_run_that_was_damaged_and_replaced_is_kept_for_a_while(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    Path(store.path(RUN_ID), "edges.parquet").write_bytes(b"damaged")
    store.commit(RECORD)
    [aside] = (tmp_path / "quarantine").iterdir()
    assert found(store, days=7.0) == {}
    assert found(store, days=7.0, later=8.0) == {f"quarantine/{aside.name}": REPLACED}
    [item] = store.leftovers(older_than=0.0, now=time.time() + 1)
    store.remove(item)
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_attempt_of_a_living_process_is_neither_found_nor_removed(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    path = attempt(store, RUN_ID, "a")
    [item] = store.leftovers(older_than=0.0, now=time.time())
    with lock(Path(store.url, f"{path}.lock")):
        assert found(store, days=0.0, later=100.0) == {}
        store.remove(item)
        assert Path(store.url, path, "edges.parquet").exists()


def test_lock_without_its_folder_is_left_over(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    (tmp_path / "tmp" / f"{RUN_ID}.{'a' * 16}.lock").touch()
    (tmp_path / "tmp" / f"{RUN_ID}.repair").touch()
    names = {f"tmp/{RUN_ID}.{'a' * 16}", f"tmp/{RUN_ID}.repair"}
    assert set(found(store)) == names
    for item in store.leftovers(older_than=0.0, now=time.time()):
        store.remove(item)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_attempts_at_a_newer_run_are_left_to_the_newer_program(tmp_path: Path):
    store = open_store(f"memory:/{tmp_path}", mode="write")
    put(store, f"runs/{RUN_ID}/_COMMIT.json", b'{"schema_version": 99}')
    attempt(store, RUN_ID, "a")
    attempt(store, RUN_ID, "b")
    assert found(store, days=0.0, later=100.0) == {}


def test_store_that_does_not_tell_ages_is_an_error_with_a_way_out(tmp_path: Path):
    store = open_store(f"memory:/{tmp_path}", mode="write")
    store.commit(RECORD)
    attempt(store, UNKNOWN, "a")

    class AgelessFileSystem(type(store.backend.fs)):
        cachable = False

        def modified(self, path: str) -> None:
            raise NotImplementedError

    ageless = Store(replace(store.backend, fs=AgelessFileSystem()))
    with pytest.raises(StoreError, match="does not say when"):
        ageless.leftovers(older_than=0.0, now=time.time())


def test_evaluation_of_a_run_that_was_deleted_is_a_leftover_and_of_one_that_is_there_is_not(
    store: Store,
):
    kept = StoredEvaluation(RUN_ID, {"seed": 0}, {"metric": "kl"}, 1.0, {}, 1000.0)
    orphan = replace(kept, run_id=UNKNOWN)
    for one in (kept, orphan):
        store.add_evaluation(one)
    path = f"evaluations/{UNKNOWN}/{orphan.evaluation_id}.json"
    assert found(store) == {}
    assert found(store, later=2.0) == {path: NO_RUN}
    (item,) = store.leftovers(older_than=0.0, now=time.time() + DAY)
    store.remove(item)
    assert found(store, later=2.0) == {}
    assert set(store.evaluations().by_run) == {RUN_ID}


def test_evaluation_that_was_never_written_to_its_end_is_a_leftover(tmp_path: Path):
    store = open_store(tmp_path, mode="write")
    store.commit(RECORD)
    path = f"evaluations/{RUN_ID}/{'a' * 16}.json.{'b' * 16}"
    put(store, path, b"half a file")
    put(store, f"evaluations/{RUN_ID}/notes.txt", b"of somebody else")
    assert found(store, later=2.0) == {path: HALF_WRITTEN}


def test_leftovers_are_claims_that_nobody_renews_and_not_those_of_a_living_driver(store: Store):
    put(store, f"claims/{UNKNOWN}.0.json", b"{}")
    put(store, "claims/notes.txt", b"{}")
    if store.folder:
        put(store, f"claims/{'a' * 16}.lock", b"")
        put(store, f"claims/{UNKNOWN}.0.json.{'b' * 16}", b"")
    with Claims(store.backend) as claims:
        claims.take(RUN_ID)
        assert found(store) == {}
        left = found(store, later=8)
        # in a folder the lock file of the driver says that it lives; its claim is renewed
        assert f"claims/{UNKNOWN}.0.json" in left
        assert set(left.values()) == {CLAIM}
        assert len(left) == (4 if store.folder else 2)
    for item in store.leftovers(older_than=0.0, now=time.time() + DAY):
        store.remove(item)
    assert store.backend.names("claims") == {"notes.txt"}


def test_leftovers_of_the_index_are_parts_that_were_never_written(store: Store):
    if store.folder is None:
        return  # an object appears whole
    name = f"1-{'a' * 32}.parquet.{'b' * 16}"
    put(store, f"index/v1/{name}", b"half")
    assert found(store, later=8) == {f"index/v1/{name}": HALF_INDEXED}
    assert store.summaries() != []
