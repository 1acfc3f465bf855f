"""Locks between processes and threads, and file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acdc_pipeline.store.locks import is_locked, lock, lock_new, try_lock


def test_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path):
    path, inside, overlaps = tmp_path / "lock", [], 0

    def work(_: int) -> None:
        nonlocal overlaps
        for _ in range(100):
            with lock(path):
                inside.append(1)
                overlaps += len(inside) > 1
                time.sleep(0)
                inside.pop()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert overlaps == 0
    assert not path.exists()


def test_try_lock_fails_while_another_holds_it_and_succeeds_after(tmp_path: Path):
    path = tmp_path / "lock"
    with lock(path):
        assert is_locked(path)
        with try_lock(path) as acquired:
            assert not acquired
        assert is_locked(path)
    assert not is_locked(path)
    with try_lock(path) as acquired:
        assert acquired


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_lets_lock_go_on_and_try_lock_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    path, entered = tmp_path / "lock", False
    with lock(path):
        entered = True
    assert entered
    with try_lock(path) as acquired:
        assert not acquired
    assert not is_locked(path)


def test_lock_new_of_a_file_that_another_process_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, flock, removed = tmp_path / "lock", fcntl.flock, []

    def removed_once(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not removed:
            removed.append(path.unlink())

    monkeypatch.setattr(fcntl, "flock", removed_once)
    with lock_new(path):
        assert removed
        assert is_locked(path)
        with try_lock(path) as acquired:
            assert not acquired
    assert not path.exists()
