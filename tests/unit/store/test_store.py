"""What holds for a store of any kind: a local folder and an object store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError, UnknownName
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.codec import encode
from tests import records

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()


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


def committed_path(store: Store, name: str) -> str:
    """Where a file of the one committed run lies."""
    paths = store.backend.fs.find(store.backend.path("runs"))
    return next(p for p in paths if p.endswith("/" + name))


def change(store: Store, name: str, data: bytes) -> None:
    store.backend.fs.pipe_file(committed_path(store, name), data)


def test_store_gives_back_what_was_committed(store: Store):
    assert store.commit(RECORD)
    assert store.has(RUN_ID)
    assert store.get(RUN_ID) == RECORD
    assert store.run_ids() == [RUN_ID]
    assert [s.run_id for s in store.summaries()] == [RUN_ID]
    assert store.damaged() == []


def test_store_second_commit_of_a_run_changes_nothing(store: Store):
    store.commit(RECORD)
    before = {p: store.backend.fs.cat_file(p) for p in store.backend.fs.find(store.backend.root)}
    assert not store.commit(RECORD)
    after = {p: store.backend.fs.cat_file(p) for p in store.backend.fs.find(store.backend.root)}
    assert after == before


def test_store_opened_again_has_the_run(store: Store):
    store.commit(RECORD)
    assert open_store(store.url).get(RUN_ID) == RECORD


def test_store_files_are_the_encoded_ones_and_a_marker_with_their_hashes(store: Store):
    store.commit(RECORD)
    marker = json.loads(store.backend.fs.cat_file(committed_path(store, "_COMMIT.json")))
    files = encode(RECORD)
    assert set(marker["files"]) == set(files)
    for name, data in files.items():
        assert store.read_file(RUN_ID, name) == data
        assert marker["files"][name]["size"] == len(data)


def test_store_lists_runs_in_the_order_of_their_ids(store: Store):
    for seed in range(4):
        store.commit(records.record(seed))
    expected = sorted(records.spec(seed).run_id() for seed in range(4))
    assert store.run_ids() == expected
    assert [s.run_id for s in store.summaries()] == expected


def test_store_resolves_a_prefix_that_only_one_run_has(store: Store):
    run_ids = [records.spec(seed).run_id() for seed in range(2)]
    for seed in range(2):
        store.commit(records.record(seed))
    assert [store.resolve(run_id[:6]) for run_id in run_ids] == run_ids
    assert store.resolve(run_ids[0]) == run_ids[0]
    assert store.resolve(f" {run_ids[0][:8].upper()}") == run_ids[0]


def test_store_prefix_of_no_run_or_several_is_an_unknown_name(store: Store):
    for seed in range(20):
        store.commit(records.record(seed))
    run_ids = store.run_ids()
    # 20 ids and 16 digits to begin with: two share their first.
    shared = next(a[0] for a, b in itertools.pairwise(run_ids) if a[0] == b[0])
    with pytest.raises(UnknownName) as caught:
        store.resolve(shared)
    assert "give more digits" in str(caught.value)
    for nothing in ("", "zz", "../", "0" * 20):
        with pytest.raises(UnknownName):
            store.resolve(nothing)


@pytest.mark.parametrize("nothing", ["", "  "])
def test_store_run_id_that_is_empty_is_called_so(store: Store, nothing: str):
    with pytest.raises(UnknownName, match="the run id is empty"):
        store.resolve(nothing)


def test_store_unknown_run_and_file_are_unknown_names(store: Store):
    store.commit(RECORD)
    with pytest.raises(UnknownName) as caught:
        store.get("0" * 20)
    assert "unknown run '00000000000000000000'" in str(caught.value)
    with pytest.raises(UnknownName) as caught:
        store.read_file(RUN_ID, "edge.parquet")
    assert "did you mean 'edges.parquet'?" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "../x", "/etc", "A" * 20, "0" * 19, "0" * 21, "0" * 20 + "\n"]
)
def test_store_name_that_is_no_run_id_never_becomes_a_path(store: Store, name: str):
    for use in (store.get, store.has, store.path):
        with pytest.raises(StoreError) as caught:
            use(name)
        assert "is not a run id" in str(caught.value)


def test_store_damage_is_reported_by_name_and_counts_as_absent(store: Store):
    store.commit(RECORD)
    edges = encode(RECORD)["edges.parquet"]
    change(store, "edges.parquet", edges[: len(edges) // 2])
    assert not store.has(RUN_ID)
    assert store.summaries() == []
    [damage] = store.damaged()
    assert f"run {RUN_ID}: edges.parquet: " in str(damage)
    with pytest.raises(DamagedRun) as caught:
        store.get(RUN_ID)
    assert str(caught.value) == str(damage)
    assert "run it again" in str(damage)


def test_store_one_flipped_bit_is_damage(store: Store):
    store.commit(RECORD)
    data = bytearray(encode(RECORD)["steps.parquet"])
    data[100] ^= 1
    change(store, "steps.parquet", bytes(data))
    assert not store.has(RUN_ID)
    [damage] = store.damaged()
    assert "sha256" in str(damage)


def test_store_missing_file_is_damage(store: Store):
    store.commit(RECORD)
    store.backend.fs.rm_file(committed_path(store, "nodes.parquet"))
    assert not store.has(RUN_ID)
    assert store.summaries() == []
    assert "nodes.parquet is missing" in str(store.damaged()[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": {"../../secret": {"sha256": "", "size": 0}}}, "not a file of a run"),
        ({"attempt": "../../.."}, "not an attempt"),
        ({"run_id": "f" * 20}, "commits run ffffffffffffffffffff"),
        ({"schema_version": 0}, "schema version 0"),
        ({"schema_version": "99"}, "schema version 99"),
        ({"files": None}, "not a commit marker"),
    ],
)
def test_store_marker_that_says_something_else_is_damage(
    store: Store, changes: dict[str, object], says: str
):
    store.commit(RECORD)
    document = json.loads(store.backend.fs.cat_file(committed_path(store, "_COMMIT.json")))
    change(store, "_COMMIT.json", json.dumps(document | changes).encode())
    assert not store.has(RUN_ID)
    with pytest.raises(DamagedRun) as caught:
        store.get(RUN_ID)
    assert says in str(caught.value)
    assert says in str(store.damaged()[0])


@pytest.mark.parametrize(
    "marker", [{"schema_version": 99}, {"schema_version": 99, "run_id": RUN_ID}]
)
def test_store_run_of_a_newer_version_asks_for_an_upgrade_and_is_left_alone(
    store: Store, marker: dict[str, object]
):
    store.commit(RECORD)
    change(store, "_COMMIT.json", json.dumps(marker).encode())
    before = {p: store.backend.fs.cat_file(p) for p in store.backend.fs.find(store.backend.root)}
    for use in (store.get, store.has, lambda _: store.commit(RECORD)):
        with pytest.raises(NewerRun) as caught:
            use(RUN_ID)
        assert "upgrade acdc-pipeline" in str(caught.value)
        assert "schema version 99" in str(caught.value)
        assert "run it again" not in str(caught.value)
    assert store.summaries() == []
    assert [type(error) for error in store.damaged()] == [NewerRun]
    after = {p: store.backend.fs.cat_file(p) for p in store.backend.fs.find(store.backend.root)}
    assert after == before


def test_store_damaged_run_is_replaced_by_running_again(store: Store):
    store.commit(RECORD)
    change(store, "run.json", b"{}")
    assert store.commit(RECORD)
    assert store.get(RUN_ID) == RECORD
    assert store.damaged() == []


def test_store_run_without_a_marker_does_not_exist(store: Store):
    store.commit(RECORD)
    store.backend.fs.rm_file(committed_path(store, "_COMMIT.json"))
    assert not store.has(RUN_ID)
    assert (store.run_ids(), store.summaries(), store.damaged()) == ([], [], [])
    with pytest.raises(UnknownName) as caught:
        store.get(RUN_ID)
    assert "has no commit marker" in str(caught.value)
    for name in (RUN_ID, RUN_ID[:4]):
        with pytest.raises(UnknownName) as caught:
            store.resolve(name)
        assert f"run '{RUN_ID}' has no commit marker" in str(caught.value)
    assert store.commit(RECORD)
    assert store.get(RUN_ID) == RECORD


def test_store_strange_things_beside_the_runs_are_left_alone(store: Store):
    store.commit(RECORD)
    for path in ("runs/notes.txt", "runs/backup/edges.parquet", "runs/.DS_Store", "readme.md"):
        store.backend.fs.makedirs(store.backend.path(path).rpartition("/")[0], exist_ok=True)
        store.backend.fs.pipe_file(store.backend.path(path), b"x")
    assert store.run_ids() == [RUN_ID]
    assert store.damaged() == []


def test_store_check_writable_leaves_nothing_behind(store: Store):
    store.check_writable()
    assert store.backend.fs.find(store.backend.root) == []


def test_store_path_is_where_the_run_is(store: Store):
    store.commit(RECORD)
    assert store.path(RUN_ID) == f"{store.url}/runs/{RUN_ID}"
