"""Locks between processes that vanish with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Some network file systems have no locks. Work goes on without; nothing is cleaned up there.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, waiting for whoever has it; the file is gone afterwards."""
    descriptor = _acquire(path, fcntl.LOCK_EX)
    assert descriptor is not None
    try:
        yield
    finally:
        _release(path, descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Holds the lock file `path` and gives True, or gives False at once if a process has it."""
    descriptor = _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        _release(path, descriptor)


def is_held(path: Path) -> bool:
    """Whether a process has the lock file `path`. Changes nothing; no, where there are no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return True
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(descriptor)
    return False


def _acquire(path: Path, operation: int) -> int | None:
    waits = not operation & fcntl.LOCK_NB
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, operation)
        except OSError as error:
            if waits and error.errno in _NO_LOCKS:
                return descriptor
            os.close(descriptor)
            if error.errno in (*_NO_LOCKS, errno.EWOULDBLOCK):
                return None
            raise
        if _is_at(descriptor, path):
            return descriptor
        # Whoever had it before us removed the file: what we hold is no longer the lock.
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _release(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)
