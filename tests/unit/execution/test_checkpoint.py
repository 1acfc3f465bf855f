"""When decisions are kept, and that a broken store does not end a search."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.execution.checkpoint import NoCheckpoint, StoreCheckpoint
from acdc_pipeline.store import open_store
from tests import records

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
HERE = {"device": "cpu"}


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_store_checkpoint_is_written_once_in_so_many_seconds(tmp_path: Path):
    store, clock = open_store(tmp_path), Clock()
    checkpoint = StoreCheckpoint(store, RUN_ID, 60.0, clock)
    checkpoint.offer(RECORD.decisions[:1], HERE)
    assert checkpoint.load(HERE) == ()
    clock.now = 160.0
    checkpoint.offer(RECORD.decisions[:1], HERE)
    clock.now = 219.0
    checkpoint.offer(RECORD.decisions, HERE)
    assert checkpoint.load(HERE) == RECORD.decisions[:1]
    clock.now = 220.0
    checkpoint.offer(RECORD.decisions, HERE)
    assert checkpoint.load(HERE) == RECORD.decisions


def test_store_checkpoint_is_gone_once_the_run_is_committed(tmp_path: Path):
    store, clock = open_store(tmp_path), Clock()
    checkpoint = StoreCheckpoint(store, RUN_ID, 0.0, clock)
    checkpoint.offer(RECORD.decisions, HERE)
    store.commit(RECORD)
    assert checkpoint.load(HERE) == ()


def test_store_checkpoint_that_cannot_be_written_lets_the_search_go_on(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("a file where the folder belongs")
    checkpoint = StoreCheckpoint(open_store(tmp_path), RUN_ID, 0.0, Clock())
    checkpoint.offer(RECORD.decisions, HERE)
    assert not list(tmp_path.glob("*.parquet"))


def test_no_checkpoint_never_has_anything():
    checkpoint = NoCheckpoint()
    checkpoint.offer(RECORD.decisions, HERE)
    assert checkpoint.load(HERE) == ()
