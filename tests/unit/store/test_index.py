"""The index of a store against the runs themselves, which are read one by one as the oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.store import RunRecord, RunSummary, Store, layout, open_store
from acdc_pipeline.store.codec import decode_summary, encode
from acdc_pipeline.store.index import Wanted, parts
from acdc_pipeline.store.index.rows import SCHEMA, size_key
from acdc_pipeline.store.record import summary_of
from acdc_pipeline.store.run_list import size_order, sort_runs
from tests import records
from tests.unit.store.test_run_list import of_eap

FOLDER = "/".join(layout.INDEX)


@dataclass
class Heard:
    """What a listener was told."""

    notes: list[str] = field(default_factory=list)
    reports: list[tuple[int, int]] = field(default_factory=list)

    def reading(self, url: str, done: int, total: int) -> None:
        self.reports.append((done, total))

    def corrected(self, url: str, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, heard: Heard) -> Iterator[Store]:
    if request.param == "local":
        yield open_store(tmp_path / "store", "write", listener=heard)
        return
    url = f"memory://bucket/{tmp_path.name}"
    yield open_store(url, listener=heard)
    memory = fsspec.filesystem("memory")
    if memory.exists(url):
        memory.rm(url, recursive=True)


def commit(store: Store, *records: RunRecord) -> None:
    for record in records:
        assert store.commit(record)


def commit_without_index(store: Store, record: RunRecord) -> None:
    """A commit of an earlier version, or of a process that died before it wrote the index."""
    assert store.backend.commit(record.spec.run_id(), encode(record))


def part_names(store: Store) -> list[str]:
    return sorted(store.backend.names(*layout.INDEX))


def read(store: Store, path: str) -> bytes:
    content = store.backend.fs.cat_file(path)
    assert isinstance(content, bytes)
    return content


def files_of(store: Store, run_id: str) -> list[str]:
    return [str(path) for path in store.backend.fs.find(store.backend.path(layout.RUNS, run_id))]


def by_reading(store: Store) -> list[RunSummary]:
    """The runs from their `run.json` alone: every one that has a commit marker."""
    found = []
    for run_id in sorted(store.backend.names(layout.RUNS)):
        content = {path: read(store, path) for path in files_of(store, run_id)}
        for marker in [path for path in content if path.endswith(f"/{layout.MARKER}")]:
            attempt = json.loads(content[marker])["attempt"]
            folder = marker.removesuffix(layout.MARKER) + (f"{attempt}/" if attempt else "")
            found.append(decode_summary(run_id, content[folder + layout.RUN]))
    return found


def indexed(store: Store) -> list[str]:
    return sorted(parts.read_parts(store.backend).table["run_id"].to_pylist())


def many(count: int) -> list[RunRecord]:
    return [records.record(seed) for seed in range(count)]


def test_index_has_a_row_for_each_commit_and_gives_back_what_the_runs_say(
    store: Store, heard: Heard
):
    commit(store, *many(5), of_eap())
    assert len(part_names(store)) == 6
    assert indexed(store) == store.run_ids()
    assert store.summaries() == by_reading(store)
    assert heard.notes == []


def test_index_that_was_deleted_is_built_again(store: Store, heard: Heard):
    commit(store, *many(3))
    before = store.summaries()
    store.backend.fs.rm(store.backend.path("index"), recursive=True)
    assert store.summaries() == before == by_reading(store)
    assert heard.notes == ["built from 3 runs"]
    [name] = part_names(store)
    assert name.startswith("3-")
    assert store.summaries() == before
    assert len(heard.notes) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "not Parquet"])
def test_index_part_that_is_damaged_is_noticed_and_replaced(
    store: Store, heard: Heard, damage: str
):
    commit(store, *many(3))
    name = part_names(store)[1]
    path = store.backend.path(*layout.INDEX, name)
    content = bytearray(read(store, path))
    content[len(content) // 2] ^= 1
    damaged = {
        "flipped": bytes(content),
        "cut": bytes(content[:-10]),
        "empty": b"",
        "not Parquet": b"PAR1",
    }
    store.backend.fs.pipe_file(path, damaged[damage])
    assert store.summaries() == by_reading(store)
    assert heard.notes == ["corrected: 1 damaged file replaced, 1 missing run added"]
    assert indexed(store) == store.run_ids()
    # the row is the same, and so is the name of its part
    assert name in part_names(store)
    assert len(store.summaries()) == 3
    assert len(heard.notes) == 1


def test_index_lacks_a_run_that_an_earlier_version_committed_and_gets_it(
    store: Store, heard: Heard
):
    commit(store, *many(2))
    commit_without_index(store, of_eap())
    assert store.summaries() == by_reading(store)
    assert heard.notes == ["corrected: 1 missing run added"]
    assert indexed(store) == store.run_ids()


def test_index_row_of_a_run_that_was_deleted_is_removed(store: Store, heard: Heard):
    commit(store, *many(3))
    gone = records.spec(1).run_id()
    store.backend.fs.rm(store.backend.path(layout.RUNS, gone), recursive=True)
    assert [s.run_id for s in store.summaries()] == store.run_ids()
    assert gone not in store.run_ids()
    assert heard.notes == ["corrected: 1 deleted run removed"]
    assert gone not in indexed(store)
    assert [s.spec.seed for s in store.summaries()] != []
    assert len(heard.notes) == 1


def test_index_of_a_store_without_runs_is_removed(store: Store):
    commit(store, *many(1))
    store.backend.fs.rm(store.backend.path(layout.RUNS), recursive=True)
    assert store.summaries() == []
    assert part_names(store) == []


def test_index_does_not_hide_a_damaged_run(store: Store, heard: Heard):
    commit(store, *many(3))
    broken = records.spec(2).run_id()
    [path] = [path for path in files_of(store, broken) if path.endswith("/edges.parquet")]
    store.backend.fs.pipe_file(path, b"cut off")
    found = store.find(Wanted())
    assert {s.run_id for s in found.summaries} == {records.spec(s).run_id() for s in (0, 1)}
    assert list(found.damaged) == [broken]
    assert "7 bytes where" in str(found.damaged[broken])
    # it is damaged for all who request it, and for no one else
    assert list(store.find(Wanted(run_ids=[records.spec(0).run_id()])).damaged) == []
    assert list(store.find(Wanted(where={"task": {"none"}})).damaged) == []
    assert heard.notes == []


def test_index_of_a_damaged_run_that_was_replaced_says_what_the_new_one_says(store: Store):
    commit(store, *many(2))
    broken = records.spec(1).run_id()
    [path] = [path for path in files_of(store, broken) if path.endswith("/nodes.parquet")]
    store.backend.fs.pipe_file(path, b"cut off")
    commit(store, replace(records.record(1), wall_seconds=1234.5))
    assert store.summaries() == by_reading(store)
    assert [s.wall_seconds for s in store.summaries() if s.run_id == broken] == [1234.5]


def test_index_of_a_store_that_was_copied_without_times_is_read_again(tmp_path: Path, heard: Heard):
    first = open_store(tmp_path / "first", "write")
    commit(first, *many(3))
    shutil.copytree(tmp_path / "first", tmp_path / "second", copy_function=shutil.copyfile)
    second = open_store(tmp_path / "second", listener=heard)
    assert second.summaries() == first.summaries()
    assert heard.notes == ["corrected: 3 changed runs read again"]
    assert second.summaries() == first.summaries()
    assert len(heard.notes) == 1


def test_index_parts_are_merged_as_they_grow_and_lose_nothing(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "_MERGING_RUNS", tuple("0123456789abcdef"))
    monkeypatch.setattr(parts, "FEW_PARTS", 4)
    commit(store, *many(30))
    assert len(part_names(store)) <= 5
    assert indexed(store) == store.run_ids()
    assert store.summaries() == by_reading(store)
    assert heard.notes == []


def test_index_of_many_parts_is_merged_by_a_reader(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "FEW_PARTS", 4)
    commit(store, *many(6))
    assert store.summaries() == by_reading(store)
    [name] = part_names(store)
    assert name.startswith("6-")
    assert heard.notes == []


def test_index_parts_that_another_process_merges_meanwhile_are_found_merged(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    commit(store, *many(3))
    monkeypatch.setattr(parts, "FEW_PARTS", 0)
    other = open_store(store.url)
    list_parts, listed = parts.list_parts, []

    def list_then_merge(backend: Any) -> list[parts.Part]:
        found = list_parts(backend)
        if not listed:
            listed.append(found)
            parts.merge_smallest(other.backend)
        return found

    monkeypatch.setattr(parts, "list_parts", list_then_merge)
    assert parts.read_parts(store.backend).table.num_rows == 3
    assert len(listed[0]) == 3
    monkeypatch.setattr(parts, "list_parts", list_parts)
    assert store.summaries() == by_reading(store)
    assert heard.notes == []


def test_index_rows_that_two_processes_merged_at_once_count_once(store: Store, heard: Heard):
    commit(store, *many(3))
    small = parts.list_parts(store.backend)
    read = parts.read_parts(store.backend)
    # both read the parts; one merges them all, the other those without the first
    parts.replace(store.backend, small, read.table)
    parts.replace(store.backend, small[1:], read.table.slice(1))
    assert len(indexed(store)) == 5
    assert store.summaries() == by_reading(store)
    assert [s.run_id for s in store.find(Wanted(limit=2)).summaries] == [
        s.run_id for s in sort_runs(by_reading(store))[:2]
    ]
    assert heard.notes == []


def test_index_that_cannot_be_written_is_no_error(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(type(store.backend), "write_cache", refuse)
    commit(store, *many(2))
    assert store.summaries() == by_reading(store)
    [note] = heard.notes
    assert note.startswith("built from 2 runs, but cannot be written: permission denied")


def test_index_of_a_large_store_reports_how_many_runs_were_read(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("acdc_pipeline.store.index.catalogue._BATCH", 2)
    for record in many(5):
        commit_without_index(store, record)
    store.summaries()
    assert heard.reports == [(0, 5), (2, 5), (4, 5)]
    assert heard.notes == ["built from 5 runs"]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 9])
def test_index_lists_the_first_runs_in_the_order_of_the_list(store: Store, limit: int):
    commit(store, *many(3), of_eap())
    commit_without_index(store, records.record(3))
    found = store.find(Wanted(limit=limit))
    assert list(found.summaries) == sort_runs(by_reading(store))[:limit]
    assert (found.fitting, found.stored) == (5, 5)
    assert found.tasks == {"ioi", "induction"}


def test_index_limit_does_not_count_damaged_runs(store: Store):
    commit(store, *many(3))
    first, *others = sort_runs(by_reading(store))
    [path] = [path for path in files_of(store, first.run_id) if path.endswith("/run.json")]
    store.backend.fs.pipe_file(path, b"{}")
    found = store.find(Wanted(limit=2))
    assert list(found.summaries) == others
    assert list(found.damaged) == [first.run_id]
    assert (found.fitting, store.find(Wanted()).fitting) == (2, 2)


@pytest.mark.parametrize(
    ("where", "seeds"),
    [
        ({"task": {"ioi"}}, {0, 1}),
        ({"task": {"ioi", "induction"}}, {0, 1, 3}),
        ({"task": {"ioi"}, "seed": {1}}, {1}),
        ({"method": {"eap"}, "task": {"ioi"}}, set()),
        ({"model_revision": {"1" * 40}}, {0, 1, 3}),
    ],
)
def test_index_finds_the_runs_whose_columns_fit(
    store: Store, where: dict[str, set[Any]], seeds: set[int]
):
    commit(store, *many(2))
    commit_without_index(store, of_eap())
    for _ in range(2):  # first the last run is read, then it is in the index
        assert {s.spec.seed for s in store.summaries(where=where)} == seeds


def test_index_of_named_runs_reads_few_of_them_and_looks_many_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    commit(store, *many(4))
    named = [records.spec(seed).run_id() for seed in (1, 3)]
    few = store.summaries([*named, "0" * 20, "../x"])
    monkeypatch.setattr("acdc_pipeline.store.index.catalogue._FEW_RUNS", 0)
    assert few == store.summaries([*named, "0" * 20, "../x"])
    assert [s.run_id for s in few] == sorted(named)


def test_index_is_plain_parquet_in_one_folder(tmp_path: Path):
    store = open_store(tmp_path / "store", "write")
    commit(store, *many(2), of_eap())
    table = pq.read_table(tmp_path / "store" / FOLDER)
    assert table.schema.names == SCHEMA.names
    rows = {row["run_id"]: row for row in table.to_pylist()}
    for summary in by_reading(store):
        row = rows[summary.run_id]
        assert dict(row["metrics"]) == summary.metrics
        assert json.loads(row["spec"]) == summary.spec.plain()
        assert (row["task"], row["seed"]) == (summary.spec.task, summary.spec.seed)


@pytest.mark.parametrize(
    "record",
    [records.record(), of_eap(), replace(of_eap(), decisions=())],
    ids=["acdc", "eap", "s"],
)
def test_index_sorts_sizes_as_the_list_does(record: RunRecord):
    method = record.spec.method
    plain = method.plain()
    sizes = (plain.get("threshold"), plain.get("share"), plain.get("edges"))
    assert (method.name, size_key(*sizes)) == size_order(method)


@pytest.mark.parametrize("seed", [0, 1])
def test_summary_of_a_record_is_that_of_its_file(seed: int):
    for record in (records.record(seed), of_eap()):
        document = encode(record)[layout.RUN]
        assert summary_of(record) == decode_summary(record.spec.run_id(), document)
