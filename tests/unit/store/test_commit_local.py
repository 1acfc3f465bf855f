"""A commit is whole or invisible, however it ends and whoever else commits."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import Store, open_store
from tests import records
from tests.support import REPOSITORY

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def driver(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, f"tests/unit/store/{program}", *arguments],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def left_in_tmp(store: Store) -> list[str]:
    return sorted(p.name for p in Path(store.url, "tmp").glob("*"))


@pytest.mark.slow
def test_commit_killed_at_any_moment_leaves_a_whole_run_or_none_and_a_rerun_completes(
    tmp_path: Path,
):
    output, _ = driver("crash_driver.py", str(tmp_path), "SIGKILL").communicate()
    killed = [int(line) for line in output.split()]
    # A commit opens, makes, renames and removes more than this, and was killed at each.
    assert len(killed) > 20
    visible = []
    for moment in killed:
        store = open_store(tmp_path / str(moment))
        assert store.damaged() == []
        if store.has(RUN_ID):
            assert store.get(RUN_ID) == RECORD
        visible.append(store.has(RUN_ID))
        assert store.commit(RECORD) is not visible[-1]
        assert store.get(RUN_ID) == RECORD
        assert left_in_tmp(store) == []
    # Nothing at first, the run from the rename on.
    assert visible == sorted(visible)
    assert not visible[0]
    assert visible[-1]


@pytest.mark.slow
def test_commit_of_a_living_process_is_not_cleaned_up_by_another(tmp_path: Path):
    with driver("crash_driver.py", str(tmp_path), "SIGSTOP") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        protected = 0
        while line := process.stdout.readline():
            store = open_store(tmp_path / line.strip())
            stopped = set(left_in_tmp(store))
            won = store.commit(RECORD)
            assert stopped - {name for name in stopped if name.endswith(".lock")} <= set(
                left_in_tmp(store)
            )
            protected += won and any(not name.endswith(".lock") for name in stopped)
            process.stdin.write("\n")
            process.stdin.flush()
            # The child that goes on loses iff we won.
            assert process.stdout.readline().strip() == str(int(won))
            assert store.get(RUN_ID) == RECORD
            assert left_in_tmp(store) == []
    assert protected > 5


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "a damaged run"])
def test_commit_of_eight_racing_writers_is_won_by_one(tmp_path: Path, before: str):
    store = open_store(tmp_path)
    if before == "a damaged run":
        store.commit(RECORD)
        Path(store.path(RUN_ID), "edges.parquet").write_bytes(b"")
    with driver("race_driver.py", str(tmp_path), "8") as racers:
        assert racers.stdout is not None
        assert [racers.stdout.readline() for _ in range(8)] == ["ready\n"] * 8
        answers, _ = racers.communicate("go\n")
    assert sorted(answers.split()) == ["False"] * 7 + ["True"]
    assert store.get(RUN_ID) == RECORD
    assert left_in_tmp(store) == []


def test_commit_cleans_up_only_after_the_same_run(tmp_path: Path):
    store = open_store(tmp_path, mode="write")
    ours, other = f"{RUN_ID}.{'a' * 16}", f"{'0' * 20}.{'b' * 16}"
    for name in (ours, other):
        (tmp_path / "tmp" / name).mkdir()
        (tmp_path / "tmp" / name / "edges.parquet").write_bytes(b"half")
    assert store.run_ids() == []
    store.commit(RECORD)
    assert left_in_tmp(store) == [other]


def test_commit_keeps_what_it_replaces_in_quarantine(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    edges = Path(store.path(RUN_ID), "edges.parquet")
    edges.write_bytes(b"damaged")
    assert store.commit(RECORD)
    [aside] = (tmp_path / "quarantine").iterdir()
    assert aside.name.startswith(f"{RUN_ID}.")
    assert (aside / "edges.parquet").read_bytes() == b"damaged"


def test_commit_replaces_a_file_that_has_the_runs_name(tmp_path: Path):
    store = open_store(tmp_path, mode="write")
    Path(store.path(RUN_ID)).touch()
    assert not store.has(RUN_ID)
    assert store.commit(RECORD)
    assert store.get(RUN_ID) == RECORD


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_commit_that_cannot_write_a_file_leaves_nothing(tmp_path: Path):
    store = open_store(tmp_path)
    with pytest.raises(StoreError) as caught, files_limited_to(100):
        store.commit(RECORD)
    assert str(tmp_path) in str(caught.value)
    assert "larger than is allowed" in str(caught.value)
    assert caught.value.exit_code == 3
    assert list((tmp_path / "runs").iterdir()) == []
    assert left_in_tmp(store) == []
    assert store.commit(RECORD)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_commit_to_a_folder_without_permission_is_a_store_error(tmp_path: Path):
    tmp_path.chmod(0o555)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path, mode="write")
    assert "permission denied" in str(caught.value)
    tmp_path.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_store_that_cannot_be_listed_is_an_error_and_not_empty(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    (tmp_path / "runs").chmod(0)
    with pytest.raises(StoreError) as caught:
        store.summaries()
    assert "permission denied" in str(caught.value)
    (tmp_path / "runs").chmod(0o755)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc that nobody can write")
def test_commit_where_nobody_can_write_is_a_store_error():
    for use in (lambda: open_store("/proc/acdc", mode="write"), lambda: commit_to("/proc/acdc")):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(caught.value).startswith("/proc/acdc: ")
        assert "fix: " in str(caught.value)


def commit_to(location: str) -> bool:
    return open_store(location).commit(RECORD)


def test_commit_below_a_file_is_a_store_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "file" / "store", mode="write")
    assert "a part of the path is a file" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_run_that_may_not_be_listed_is_a_store_error_and_not_absent(tmp_path: Path):
    store = open_store(tmp_path)
    store.commit(RECORD)
    folder = tmp_path / "runs" / RECORD.spec.run_id()
    folder.chmod(0)
    try:
        with pytest.raises(StoreError, match="permission denied"):
            store.run_ids()
    finally:
        folder.chmod(0o755)


def test_run_folder_that_is_a_link_is_listed_and_read_and_not_committed_again(tmp_path: Path):
    store = open_store(tmp_path / "store")
    store.commit(RECORD)
    elsewhere = tmp_path / "other disk"
    folder = tmp_path / "store" / "runs" / RUN_ID
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    store = open_store(tmp_path / "store")
    assert store.run_ids() == [RUN_ID]
    assert [summary.run_id for summary in store.summaries()] == [RUN_ID]
    assert store.has(RUN_ID)
    assert store.get(RUN_ID) == RECORD
    assert not store.commit(RECORD)
    elsewhere.rename(tmp_path / "gone")
    store = open_store(tmp_path / "store")
    assert store.run_ids() == []
    assert not store.has(RUN_ID)


def test_commit_works_in_a_process_forked_from_one_that_committed(tmp_path: Path):
    code = (
        "import os, sys; from acdc_pipeline.store import open_store; from tests import records; "
        "store = open_store(sys.argv[1], 'write'); store.commit(records.record(0)); "
        "child = os.fork(); store.commit(records.record(1 if child else 2)); "
        "child and sys.exit(os.waitpid(child, 0)[1])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, check=True, timeout=60)
    store = open_store(tmp_path)
    assert len(store.run_ids()) == 3
    assert store.damaged() == []
