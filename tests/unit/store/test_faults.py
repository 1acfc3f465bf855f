from __future__ import annotations

import errno
import os

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store.faults import as_store_error, store_faults


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
    message = str(as_store_error(error, "/store"))
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
    assert as_store_error(OSError(number, os.strerror(number)), "/store").exit_code == exit_code


def test_fault_of_a_client_library_becomes_a_store_error():
    class NoCredentialsError(Exception):
        """As botocore has it, which is not installed here."""

    NoCredentialsError.__module__ = "botocore.exceptions"
    with pytest.raises(StoreError) as caught, store_faults("s3://bucket/runs"):
        raise NoCredentialsError("Unable to locate credentials")
    assert str(caught.value) == (
        "s3://bucket/runs: the object store failed: Unable to locate credentials"
    )


def test_fault_of_our_own_passes_through():
    with pytest.raises(ZeroDivisionError), store_faults("/store"):
        raise ZeroDivisionError
