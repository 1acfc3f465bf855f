"""A store that gives out at work: one clear error, nothing damaged, and the command goes on."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc, start_acdc
from tests.small_disk import SmallDisk, small_disk
from tests.sweeps import write_sweep

TARGET = ("discover", "compiled_or", "zoo:compiled-or", "--json")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Room for a try at writing and for the first files of a run."""
    with small_disk(tmp_path / "disk", "20k") as made:
        yield made


def fails(outcome: Outcome, *parts: str) -> None:
    """Asserts the form of a failure: exit 3, one message with these parts, no output."""
    assert outcome.code == 3, outcome.err
    assert outcome.out == ""
    assert outcome.err.count("acdc: ") == 1
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_discover_on_a_disk_that_fills_up_leaves_nothing_and_goes_on_with_more_room(
    capsys, disk: SmallDisk
):
    failed = acdc(capsys, *TARGET, "--store", disk.folder)
    fails(failed, str(disk.folder), "no space left", "fix: free some space")
    assert files_below(disk.folder) == []
    disk.resize("8m")
    again = acdc(capsys, *TARGET, "--store", disk.folder)
    assert (again.code, again.document["cached"]) == (0, False)
    assert open_store(disk.folder).damaged() == []


def test_sweep_on_a_disk_that_fills_up_keeps_what_is_done_and_goes_on_with_more_room(
    capsys, tmp_path: Path, disk: SmallDisk
):
    thresholds = [0.3, 0.1, 0.03, 0.01, 0.003]
    sweep = write_sweep(
        tmp_path / "small.yaml", methods=[{"name": "acdc", "thresholds": thresholds}]
    )
    disk.resize("100k")
    failed = acdc(capsys, "run", sweep, "--store", disk.folder, "--json")
    fails(failed, "no space left")
    done = open_store(disk.folder).run_ids()
    assert 0 < len(done) < len(thresholds)
    assert (
        f"{len(done)} of {len(thresholds)} done and in the store; continue with: acdc run"
        in failed.err
    )
    assert open_store(disk.folder).damaged() == []
    disk.resize("8m")
    again = acdc(capsys, "run", sweep, "--store", disk.folder, "--json")
    assert again.code == 0
    assert set(done) < set(open_store(disk.folder).run_ids())
    assert f"{len(done)} of {len(thresholds)} runs are in the store already" in again.err


@pytest.mark.slow
def test_sweep_whose_store_turns_read_only_in_the_middle_keeps_what_is_done_and_goes_on(
    capsys, tmp_path: Path, disk: SmallDisk
):
    disk.resize("8m")
    sweep = write_sweep(
        tmp_path / "long.yaml",
        tasks=["ioi"],
        models=["zoo:gpt2-4l-s0"],
        methods=[{"name": "acdc", "thresholds": [0.1, 0.01, 0.001]}],
        prompts=16,
    )
    command = ("run", sweep, "--store", disk.folder, "--json", "--threads", "1")
    with start_acdc(*command) as process:
        assert process.stderr is not None
        # A line for every run that ends; the first tells that one is there.
        assert any(open_store(disk.folder).run_ids() for _ in process.stderr)
        # It stands still while the disk changes.
        process.send_signal(signal.SIGSTOP)
        disk.turn("ro")
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate()
    done = open_store(disk.folder).run_ids()
    assert process.returncode == 3, err
    assert out == ""
    assert "is on a read-only file system" in err
    assert "Traceback" not in err
    assert 0 < len(done) < 3
    assert open_store(disk.folder).damaged() == []
    disk.turn("rw")
    again = acdc(capsys, *command)
    assert again.code == 0
    assert len(again.document["runs"]) == 3
    assert len(open_store(disk.folder).run_ids()) == 3


def test_discover_into_a_store_that_is_read_only_from_the_start_is_refused_before_the_work(
    capsys, disk: SmallDisk
):
    disk.turn("ro")
    refused = acdc(capsys, *TARGET, "--store", disk.folder)
    refused.refuses("is on a read-only file system", "choose another store")


def test_discover_that_may_write_no_larger_file_leaves_nothing(capsys, tmp_path: Path):
    """What a quota does, also where nothing can be mounted."""
    store = tmp_path / "limited"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        failed = acdc(capsys, *TARGET, "--store", store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fails(failed, str(store), "larger than is allowed")
    assert files_below(store) == []
    assert acdc(capsys, *TARGET, "--store", store).code == 0
