"""The errors of a store, and their translation from file systems and client libraries."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError, StoreFailed

# Client libraries of object stores raise errors of their own beside OSError (no credentials, no
# connection). They are recognised by module name, so that none of them has to be installed.
_CLIENT_LIBRARIES = frozenset(
    ("adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs")
)

# Names of base classes of those errors that mean that no server answers.
_NO_ANSWER = frozenset(
    ("ClientConnectionError", "ConnectionError", "HTTPClientError", "ServiceRequestError")
)

_CREDENTIALS = (
    "check the credentials, and that they may list, read, write and delete there; "
    "docs/object-stores.md lists where they are read from"
)

_PROBLEMS = {
    errno.ENOSPC: ("no space left", "free some space, or choose another store"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another store"),
    errno.EFBIG: ("a file would be larger than is allowed here", None),
    errno.EROFS: ("is on a read-only file system", "choose another store"),
    errno.EACCES: ("permission denied", "make it writable, or choose another store"),
    errno.EPERM: ("permission denied", "make it writable, or choose another store"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another store"),
    errno.ENAMETOOLONG: ("the path is too long", "choose another store"),
}

# Errors of a store that was usable before: a failure of the run, not invalid input. The last two
# are how clients report an internal error of an object store and too many requests.
_EREMOTEIO = getattr(errno, "EREMOTEIO", errno.EIO)
_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, _EREMOTEIO, errno.EBUSY)


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Translate errors of the file system or object store at `where` into StoreError."""
    try:
        yield
    except OSError as error:
        raise store_error_from(error, where) from error
    except Exception as error:  # clients of object stores share no base class
        if type(error).__module__.partition(".")[0] not in _CLIENT_LIBRARIES:
            raise
        raise _client_error(error, where) from error


@contextmanager
def write_errors(where: str) -> Iterator[None]:
    """Translate errors during a write into StoreFailed: the store was usable before."""
    try:
        with storage_errors(where):
            yield
    except DamagedRun:
        raise
    except StoreError as error:
        raise StoreFailed(error.problem, **error.parts()) from error


def as_store_failure(error: StoreError) -> StoreError:
    """Return a file system's `error` as StoreFailed, for a store that was usable before.

    Damaged runs and errors that no file system raised are returned unchanged.
    """
    if isinstance(error, StoreFailed | DamagedRun) or not isinstance(error.__cause__, OSError):
        return error
    return StoreFailed(error.problem, **error.parts())


def _client_error(error: Exception, where: str) -> StoreError:
    if any(base.__name__ in _NO_ANSWER for base in type(error).__mro__):
        return StoreFailed(
            f"the object store does not answer: {error}",
            where=where,
            fix="check the network, and AWS_ENDPOINT_URL where one is set",
        )
    return StoreError(f"the object store failed: {error}", where=where, fix=_CREDENTIALS)


def store_error_from(error: OSError, where: str) -> StoreError:
    """Return the StoreError for `error`, raised by the store `where`."""
    number = error.errno
    message = error.strerror or str(error) or repr(error)
    if number is None and isinstance(error, PermissionError):
        # As clients of object stores raise it, with the message of the server.
        problem = f"permission denied: {message.rstrip('.')}"
        return StoreError(problem, where=where, fix=_CREDENTIALS)
    problem, fix = _PROBLEMS.get(number or 0, (message, "choose another store"))
    named = error.filename and _faulty_path(error)
    if named and named != where:
        problem = f"{problem} ({named})"
    failed = number in _FAILURES or isinstance(error, ConnectionError | TimeoutError)
    return (StoreFailed if failed else StoreError)(problem, where=where, fix=fix)


def _faulty_path(error: OSError) -> str:
    """Return the path to name in the message: where a path leads through a file, that file."""
    path = Path(str(error.filename))
    if error.errno == errno.ENOTDIR:
        # from the root down, since nothing below a file can be examined
        path = next((part for part in (*path.parents[::-1], path) if part.is_file()), path)
    return str(path)


def no_conditional_put(where: str) -> StoreError:
    """Return the error for an object store that ignores the condition of a put."""
    return StoreError(
        "this object store overwrites objects that it should only create (If-None-Match): two "
        "writers of one run would both believe that they committed it",
        where=where,
        allowed="a server with conditional writes, see docs/object-stores.md; or a folder",
        fix="upgrade the server, or choose another store",
    )


def missing_bucket(where: str, bucket: str) -> StoreError:
    """Return the error for a bucket that does not exist or cannot be seen."""
    return StoreError(
        f"the bucket '{bucket}' does not exist, or these credentials cannot see it",
        where=where,
        fix="create the bucket, or correct its name",
    )


_RUN_AGAIN = "run it again: a damaged run counts as absent and is replaced"


def damaged_run(
    run_id: str,
    problem: str,
    *,
    field: str | None = None,
    allowed: str | None = None,
    fix: str = _RUN_AGAIN,
) -> DamagedRun:
    """Return the error for a damaged file of a run, which `field` names.

    `fix` holds for the files that a commit marker lists; other files need their own.
    """
    return DamagedRun(problem, where=f"run {run_id}", field=field, allowed=allowed, fix=fix)


def newer_run(run_id: str, version: int, known: int) -> NewerRun:
    """Return the error for a run that was committed under a later schema version."""
    return NewerRun(
        f"written by a newer version of this program (schema version {version}; this one reads "
        f"{known})",
        where=f"run {run_id}",
        fix="upgrade acdc-pipeline; the run is left as it is",
    )
