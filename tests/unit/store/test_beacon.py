"""A beacon is seen in the store where it was lit, and in no other."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import open_store
from acdc_pipeline.store.beacon import Beacon


@pytest.fixture(params=["folder", "memory"])
def beacon(request: pytest.FixtureRequest, tmp_path: Path) -> Beacon:
    url = tmp_path / "store" if request.param == "folder" else f"memory://beacon{tmp_path}"
    return Beacon(open_store(url))


def test_beacon_lit_is_seen_by_whoever_is_told_of_it(beacon: Beacon):
    beacon.light()
    told = pickle.loads(pickle.dumps(beacon))
    told.check_seen("node-1")


def test_beacon_in_another_store_is_not_seen_and_the_node_is_named(tmp_path: Path):
    here, there = Beacon(open_store(tmp_path / "a")), open_store(tmp_path / "b")
    here.light()
    with pytest.raises(StoreError, match="is another store on node-1") as raised:
        Beacon(there, here.name).check_seen("node-1")
    assert raised.value.where == there.url


def test_beacon_put_out_is_not_seen_and_putting_out_again_does_nothing(beacon: Beacon):
    beacon.light()
    beacon.light()
    beacon.put_out()
    beacon.put_out()
    with pytest.raises(StoreError):
        beacon.check_seen("node-1")


def test_beacon_left_behind_is_found_when_the_store_is_cleaned(tmp_path: Path):
    beacon = Beacon(open_store(tmp_path))
    beacon.light()
    [left] = beacon.store.leftovers(older_than=60.0, now=2e12)
    assert left.path == f"tmp/{beacon.name}"


def test_beacon_is_no_run_to_readers(beacon: Beacon):
    beacon.light()
    assert beacon.store.run_ids() == []
