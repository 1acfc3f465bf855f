"""Files that a command writes where the user said: whole or not at all."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from acdc_pipeline.errors import InvalidInput

STDOUT = Path("-")
"""What stands for stdout where a file is asked for."""

# Names of streams that this process has open. Where one leads to a file (`> file`), the file is
# the shell's: it is neither replaced nor opened again, which would cut off what it holds.
_STREAM = re.compile(r"/dev/(?:stdin|stdout|stderr)|/(?:dev|proc/self)/fd/[0-9]+")
_NUMBERS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def file_for(option: str) -> Callable[[str | Path], Path]:
    """Reads names of files to write. What it returns raises InvalidInput for an empty one."""

    def read(text: str | Path) -> Path:
        if not str(text).strip():
            raise InvalidInput(
                "the name of the file is empty", field=option, allowed="a file, or - for stdout"
            )
        path = Path(text)
        return STDOUT if _stream(path) == 1 else path

    return read


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`.

    A file is replaced in one step and keeps its permissions, also where `path` is a link to it.
    What is no file, as a pipe, a device or an open stream (`/dev/fd/3`), is written to.

    Raises:
        InvalidInput: its folder does not exist, or it cannot be written; the file that was there
            is untouched.
    """
    try:
        if (number := _stream(path)) is not None:
            with os.fdopen(os.dup(number), "wb") as stream:
                stream.write(content)
        elif path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.write(content)
        else:
            _replace(_target(path), content)
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def check_file(path: Path) -> None:
    """Raises InvalidInput if `path` cannot be written; what is there already may be replaced."""
    if _stream(path) is not None:
        return
    target = _target(path)
    _check_folder(target)
    if path.is_dir():
        raise InvalidInput("is a folder", where=str(path), allowed="a file, or - for stdout")
    if not (target.exists() and not target.is_file()) and not os.access(target.parent, os.W_OK):
        raise InvalidInput(
            f"cannot be written: no new file may be made in {target.parent}", where=str(path)
        )


def check_new(path: Path) -> None:
    """Raises InvalidInput if writing `path` would replace something, or if it cannot be written."""
    check_file(path)
    if _stream(path) is None and path.is_file():
        raise InvalidInput(
            "exists already", where=str(path), fix="add --force to replace it, or choose another"
        )


def _stream(path: Path) -> int | None:
    """Number of the open stream that `path` stands for; None for every other name."""
    text = path.as_posix()
    if not _STREAM.fullmatch(text):
        return None
    return _NUMBERS[text] if text in _NUMBERS else int(text.rpartition("/")[2])


def _replace(path: Path, content: bytes) -> None:
    _check_folder(path)
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".acdc-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:  # however it ended, nothing half written stays
        Path(name).unlink(missing_ok=True)
        raise


def _target(path: Path) -> Path:
    """What `path` leads to, itself where it is no link. Raises InvalidInput for a loop of links."""
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidInput("is a link that leads nowhere", where=str(path)) from error


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
