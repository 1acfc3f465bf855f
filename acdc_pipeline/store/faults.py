"""What can go wrong with a store, as one clear error each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError, StoreFailed

# Client libraries of object stores raise errors of their own beside OSError (no credentials, no
# connection). They are told by where they come from, so that none of them has to be installed.
_CLIENT_LIBRARIES = frozenset(
    ("adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs")
)

# Of those, the ones that say that nobody answers, by the names of their base classes.
_NO_ANSWER = frozenset(
    ("ClientConnectionError", "ConnectionError", "HTTPClientError", "ServiceRequestError")
)

_CREDENTIALS = (
    "check the credentials, and that they may list, read, write and delete there; "
    "docs/object-stores.md says where they are looked for"
)

_PROBLEMS = {
    errno.ENOSPC: ("no space left", "free some space, or choose another store with --store"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another store"),
    errno.EFBIG: ("a file would be larger than is allowed here", None),
    errno.EROFS: ("is on a read-only file system", "choose another store with --store"),
    errno.EACCES: ("permission denied", "make it writable, or choose another store with --store"),
    errno.EPERM: ("permission denied", "make it writable, or choose another store with --store"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another store with --store"),
    errno.ENAMETOOLONG: ("the path is too long", "choose another store with --store"),
}

# What happens to a store that could be used: the run failed, not what the user gave. The last two
# are what an object store means by an internal error and by being asked too often.
_FAILURES = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        getattr(errno, "EREMOTEIO", errno.EIO),
        errno.EBUSY,
    )
)


@contextmanager
def store_faults(where: str) -> Iterator[None]:
    """Turns failures of a file system or an object store at `where` into StoreError."""
    try:
        yield
    except OSError as error:
        raise as_store_error(error, where) from error
    except Exception as error:  # clients of object stores share no class; all else is raised
        if type(error).__module__.partition(".")[0] not in _CLIENT_LIBRARIES:
            raise
        raise _from_client(error, where) from error


@contextmanager
def commit_faults(where: str) -> Iterator[None]:
    """The same while runs are written, as StoreFailed: that the store is usable was checked."""
    try:
        with store_faults(where):
            yield
    except DamagedRun:
        raise
    except StoreError as error:
        raise StoreFailed(error.problem, **error.parts()) from error


def gave_out(error: StoreError) -> StoreError:
    """`error` of a store that could be used a moment ago: what a disk or a mount does is no input.

    Damaged runs stay what they are, and so does what no file system said.
    """
    if isinstance(error, StoreFailed | DamagedRun) or not isinstance(error.__cause__, OSError):
        return error
    return StoreFailed(error.problem, **error.parts())


def _from_client(error: Exception, where: str) -> StoreError:
    if any(base.__name__ in _NO_ANSWER for base in type(error).__mro__):
        return StoreFailed(
            f"the object store does not answer: {error}",
            where=where,
            fix="check the network, and AWS_ENDPOINT_URL where one is set",
        )
    return StoreError(f"the object store failed: {error}", where=where, fix=_CREDENTIALS)


def as_store_error(error: OSError, where: str) -> StoreError:
    """The one clear error for `error`, met at `where`."""
    number = error.errno
    said = error.strerror or str(error) or repr(error)
    if number is None and isinstance(error, PermissionError):
        # How clients of object stores say it; the server's own words follow.
        return StoreError(f"permission denied: {said.rstrip('.')}", where=where, fix=_CREDENTIALS)
    problem, fix = _PROBLEMS.get(number or 0, (said, "choose another store with --store"))
    named = error.filename and _at_fault(error)
    if named and named != where:
        problem = f"{problem} ({named})"
    failed = number in _FAILURES or isinstance(error, ConnectionError | TimeoutError)
    return (StoreFailed if failed else StoreError)(problem, where=where, fix=fix)


def _at_fault(error: OSError) -> str:
    """The path to name: of a path through a file, that file."""
    path = Path(str(error.filename))
    if error.errno == errno.ENOTDIR:
        # from the root down: below a file, nothing can be asked
        path = next((part for part in (*path.parents[::-1], path) if part.is_file()), path)
    return str(path)


def no_exclusive_put(where: str) -> StoreError:
    """The error for an object store that overwrites what it was asked only to create."""
    return StoreError(
        "this object store overwrites objects that it was asked only to create (If-None-Match): "
        "of two writers of one run both would believe that they committed it",
        where=where,
        allowed="a server with conditional writes, see docs/object-stores.md; or a folder",
        fix="upgrade the server, or choose another store with --store",
    )


def missing_bucket(where: str, bucket: str) -> StoreError:
    """The error for an object store whose bucket does not exist or cannot be seen."""
    return StoreError(
        f"the bucket '{bucket}' does not exist, or these credentials cannot see it",
        where=where,
        fix="create the bucket, or correct --store",
    )


def damaged_run(
    run_id: str, problem: str, *, field: str | None = None, allowed: str | None = None
) -> DamagedRun:
    """The error for a run whose files do not match its commit marker."""
    return DamagedRun(
        problem,
        where=f"run {run_id}",
        field=field,
        allowed=allowed,
        fix="run it again: a damaged run counts as absent and is replaced",
    )


def newer_run(run_id: str, version: int, known: int) -> NewerRun:
    """The error for a run that was committed under a later schema version than ours."""
    return NewerRun(
        f"written by a newer version of this program (schema version {version}; this one reads "
        f"{known})",
        where=f"run {run_id}",
        fix="upgrade acdc-pipeline; the run is left as it is",
    )
