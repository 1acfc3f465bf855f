"""Files that a command writes where the user said: whole or not at all."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from acdc_pipeline.errors import InvalidInput


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, replacing what is there in one step.

    Raises:
        InvalidInput: its folder does not exist, or it cannot be written; what was there is
            untouched.
    """
    _check_folder(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def check_new(path: Path) -> None:
    """Raises InvalidInput if `path` exists, or its folder does not."""
    _check_folder(path)
    if path.exists():
        raise InvalidInput(
            "exists already", where=str(path), fix="add --force to replace it, or choose another"
        )


def _check_folder(path: Path) -> None:
    if not path.parent.exists():
        folder = str(path.parent)
        raise InvalidInput(
            "cannot be written: its folder does not exist",
            where=str(path),
            fix=f"mkdir -p {shlex.quote(folder)}",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
