"""`acdc runs clean`: lists, and removes only when it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()


@pytest.fixture
def abandoned(store_url: str) -> Path:
    """A store with a run, and an attempt at it that lost and died: its folder."""
    open_store(store_url).commit(RECORD)
    folder = Path(store_url, "tmp", f"{RUN_ID}.{'a' * 16}")
    folder.mkdir()
    (folder / "edges.parquet").write_bytes(b"x" * 1500)
    return folder


def test_clean_lists_and_removes_nothing(capsys, abandoned: Path):
    listed = acdc(capsys, "runs", "clean")
    assert listed.code == 0
    for part in (f"tmp/{abandoned.name}", "the run is committed without it", "1.5 kB"):
        assert part in listed.out
    assert "1 leftover (1.5 kB)" in listed.err
    assert "add --remove" in listed.err
    assert abandoned.is_dir()


def test_clean_removes_what_it_lists_when_it_is_told_to(capsys, abandoned: Path, store_url: str):
    removed = acdc(capsys, "runs", "clean", "--remove")
    assert removed.code == 0
    assert "removed 1 leftover (1.5 kB)" in removed.err
    assert not abandoned.exists()
    assert open_store(store_url).get(RUN_ID) == RECORD
    assert "nothing to clean" in acdc(capsys, "runs", "clean", "--remove").err


def test_clean_json_is_one_document(capsys, abandoned: Path, store_url: str):
    document = acdc(capsys, "runs", "clean", "--json").document
    assert document["store"] == store_url
    assert document["removed"] is False
    [item] = document["leftovers"]
    assert (item["path"], item["run_id"], item["size"]) == (f"tmp/{abandoned.name}", RUN_ID, 1500)
    assert acdc(capsys, "runs", "clean", "--json", "--remove").document["removed"] is True
    assert not abandoned.exists()


def test_clean_spares_what_may_still_be_at_work(capsys, store_url: str):
    folder = Path(store_url, "tmp", f"{'0' * 20}.{'b' * 16}")
    folder.mkdir(parents=True)
    assert acdc(capsys, "runs", "clean", "--remove").code == 0
    assert folder.is_dir()
    acdc(capsys, "runs", "clean", "--remove", "--older-than", "0s")
    assert not folder.exists()


@pytest.mark.parametrize("age", ["7", "a week", "", "-1d", "7 days"])
def test_clean_refuses_an_age_that_is_none(capsys, abandoned: Path, age: str):
    refused = acdc(capsys, "runs", "clean", "--remove", f"--older-than={age}")
    refused.refuses("--older-than", "is not a duration", "7d")
    assert abandoned.is_dir()
