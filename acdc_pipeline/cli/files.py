"""Files that a command writes where the user said: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from acdc_pipeline.errors import InvalidInput


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, replacing what is there in one step.

    Raises:
        InvalidInput: it cannot be written; what was there is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
