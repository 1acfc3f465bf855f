"""Checkpoints: what a later attempt goes on from, and never a failure of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import Store, open_store
from tests import records

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
HERE = {"torch": "2.13.0", "device": "cpu"}


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(tmp_path / "store")
    return open_store(f"memory://checkpoints{tmp_path}")


def test_checkpoint_saved_twice_gives_back_the_later_log(store: Store):
    store.save_checkpoint(RUN_ID, RECORD.decisions[:1], HERE)
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    assert store.checkpoint(RUN_ID, HERE) == RECORD.decisions


def test_checkpoint_of_no_run_is_empty(store: Store):
    assert store.checkpoint(RUN_ID, HERE) == ()


def test_checkpoint_made_under_other_conditions_counts_as_absent(store: Store):
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    assert store.checkpoint(RUN_ID, {**HERE, "torch": "2.14.0"}) == ()


def test_checkpoint_dropped_is_gone_and_dropping_again_does_nothing(store: Store):
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    store.backend.remove_checkpoint(RUN_ID)
    store.backend.remove_checkpoint(RUN_ID)
    assert store.checkpoint(RUN_ID, HERE) == ()


def test_checkpoint_is_no_run_to_readers(store: Store):
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    assert store.run_ids() == []
    assert not store.has(RUN_ID)


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", b"\x00" * 100])
def test_checkpoint_damaged_counts_as_absent(tmp_path: Path, damage: bytes):
    store = open_store(tmp_path)
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    (tmp_path / "checkpoints" / f"{RUN_ID}.parquet").write_bytes(damage)
    assert store.checkpoint(RUN_ID, HERE) == ()


def test_checkpoint_with_one_damaged_byte_is_read_or_counts_as_absent(tmp_path: Path):
    store = open_store(tmp_path)
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    path = tmp_path / "checkpoints" / f"{RUN_ID}.parquet"
    intact = path.read_bytes()
    absent = 0
    for at in range(0, len(intact), 7):
        damaged = bytearray(intact)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        absent += store.checkpoint(RUN_ID, HERE) == ()
    assert absent > 0


def test_checkpoint_name_that_is_no_run_id_is_refused(store: Store):
    with pytest.raises(StoreError, match="not a run id"):
        store.save_checkpoint("../../etc", RECORD.decisions, HERE)


@pytest.mark.parametrize("name", [f"{RUN_ID}.parquet.{'a' * 16}", f"{RUN_ID}.0123456789abcdef"])
def test_checkpoint_interrupted_writer_leaves_the_earlier_one(tmp_path: Path, name: str):
    store = open_store(tmp_path)
    store.save_checkpoint(RUN_ID, RECORD.decisions, HERE)
    (tmp_path / "checkpoints" / name).write_bytes(b"PAR1")
    assert store.checkpoint(RUN_ID, HERE) == RECORD.decisions
    store.backend.remove_checkpoint(RUN_ID)
    assert list((tmp_path / "checkpoints").iterdir()) == []
