from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from acdc_pipeline.errors import NewerRun, StoreError, StoreFailed
from acdc_pipeline.store.errors import (
    as_store_failure,
    damaged_run,
    storage_errors,
    store_error_from,
    write_errors,
)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.ENOTDIR, "is a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_fault_of_the_operating_system_becomes_one_line_with_a_fix(number: int, says: str):
    error = OSError(number, os.strerror(number), "/store/tmp/x/edges.parquet")
    message = str(store_error_from(error, "/store"))
    first, second = message.splitlines()
    assert first.startswith("/store: ")
    assert says in first
    assert first.endswith("(/store/tmp/x/edges.parquet)")
    assert second.startswith("fix: ")


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(errno.ENOSPC, 3), (errno.EDQUOT, 3), (errno.EIO, 3), (errno.EROFS, 2)],
)
def test_fault_of_a_store_that_gives_out_is_a_failure_and_no_bad_input(number: int, exit_code: int):
    assert store_error_from(OSError(number, os.strerror(number)), "/store").exit_code == exit_code


def test_fault_below_a_file_names_the_file(tmp_path: Path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "store" / "runs"
    error = OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(below))
    assert str(store_error_from(error, "x")).startswith(
        f"x: a part of the path is a file ({tmp_path / 'file'})"
    )


def test_store_that_could_be_used_and_is_not_readable_any_more_is_a_failure():
    with pytest.raises(StoreError) as caught, storage_errors("/store"):
        raise PermissionError(errno.EACCES, "Permission denied", "/store/runs")
    assert caught.value.exit_code == 2
    assert as_store_failure(caught.value).exit_code == 3
    assert str(as_store_failure(caught.value)) == str(caught.value)
    of_a_run = damaged_run("0" * 20, "cut off")
    assert as_store_failure(of_a_run) is of_a_run


class NoCredentialsError(Exception):
    """As botocore has it, which need not be installed."""


class HTTPClientError(Exception):
    """As botocore has it: the parent of all that means that nobody answers."""


class ConnectionClosedError(HTTPClientError):
    """One of them."""


for kind in (NoCredentialsError, HTTPClientError, ConnectionClosedError):
    kind.__module__ = "botocore.exceptions"


@pytest.mark.parametrize(
    ("error", "says", "exit_code"),
    [
        (
            NoCredentialsError("Unable to locate credentials"),
            "s3://bucket/runs: the object store failed: Unable to locate credentials",
            2,
        ),
        (
            ConnectionClosedError("no route"),
            "s3://bucket/runs: the object store does not answer: no route",
            3,
        ),
        (
            PermissionError("Access Denied."),
            "s3://bucket/runs: permission denied: Access Denied",
            2,
        ),
        (TimeoutError("too slow"), "s3://bucket/runs: too slow", 3),
    ],
)
def test_fault_of_an_object_store_becomes_one_line_with_a_fix(
    error: Exception, says: str, exit_code: int
):
    with pytest.raises(StoreError) as caught, storage_errors("s3://bucket/runs"):
        raise error
    first, second = str(caught.value).splitlines()
    assert first == says
    assert second.startswith("fix: ")
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError("expired"),
        PermissionError("Access Denied"),
        OSError(errno.EROFS, "Read-only file system"),
        StoreError("the bucket 'gone' does not exist"),
    ],
)
def test_fault_while_a_run_is_committed_is_a_failure_whatever_it_was(error: Exception):
    with pytest.raises(StoreFailed) as caught, write_errors("s3://bucket/runs"):
        raise error
    assert caught.value.exit_code == 3


def test_fault_of_a_newer_run_stays_one_while_a_run_is_committed():
    with pytest.raises(NewerRun), write_errors("s3://bucket/runs"):
        raise NewerRun("written by a newer version")


def test_fault_of_our_own_passes_through():
    with pytest.raises(ZeroDivisionError), storage_errors("/store"):
        raise ZeroDivisionError
