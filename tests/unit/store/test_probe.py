"""A probe is visible in the store where it was written, and in no other."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import open_store
from acdc_pipeline.store.probe import StoreProbe


@pytest.fixture(params=["folder", "memory"])
def probe(request: pytest.FixtureRequest, tmp_path: Path) -> StoreProbe:
    url = tmp_path / "store" if request.param == "folder" else f"memory://probe{tmp_path}"
    return StoreProbe(open_store(url))


def test_probe_written_is_visible_to_a_process_that_receives_it(probe: StoreProbe):
    probe.write()
    received = pickle.loads(pickle.dumps(probe))
    received.check_visible("node-1")


def test_probe_in_another_store_is_not_seen_and_the_node_is_named(tmp_path: Path):
    here, there = StoreProbe(open_store(tmp_path / "a")), open_store(tmp_path / "b")
    here.write()
    with pytest.raises(StoreError, match="is another store on node-1") as raised:
        StoreProbe(there, here.name).check_visible("node-1")
    assert raised.value.where == there.url


def test_probe_removed_is_not_visible_and_removing_again_does_nothing(probe: StoreProbe):
    probe.write()
    probe.write()
    probe.remove()
    probe.remove()
    with pytest.raises(StoreError):
        probe.check_visible("node-1")


def test_probe_left_behind_is_found_when_the_store_is_cleaned(tmp_path: Path):
    probe = StoreProbe(open_store(tmp_path))
    probe.write()
    [left] = probe.store.leftovers(older_than=60.0, now=2e12)
    assert left.path == f"tmp/{probe.name}"


def test_probe_is_no_run_to_readers(probe: StoreProbe):
    probe.write()
    assert probe.store.run_ids() == []
