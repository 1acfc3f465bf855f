"""Output files: written whole or not at all."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path

from acdc_pipeline.errors import InvalidInput

# Names of streams that this process has open. Where one leads to a file (`> file`), the file is
# the shell's: it is neither replaced nor opened again, which would cut off what it holds.
_STREAM = re.compile(r"/dev/(?:stdin|stdout|stderr)|/(?:dev|proc/self)/fd/[0-9]+")
_NUMBERS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`.

    A file is replaced in one step and keeps its permissions, also where `path` is a link to it.
    A pipe, a device or an open stream (`/dev/fd/3`) is written to. Raises InvalidInput.
    """
    try:
        if (number := stream_number(path)) is not None:
            with os.fdopen(os.dup(number), "wb") as stream:
                stream.write(content)
        elif path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.write(content)
        else:
            _replace(_link_target(path), content)
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def check_writable(path: Path) -> None:
    """Raise InvalidInput if `path` cannot be written; an existing file may be replaced."""
    if stream_number(path) is not None:
        return
    target = _link_target(path)
    _check_folder(target)
    if path.is_dir():
        raise InvalidInput("is a folder", where=str(path), allowed="a file, or - for stdout")
    if not (target.exists() and not target.is_file()) and not os.access(target.parent, os.W_OK):
        raise InvalidInput(
            f"cannot be written: no permission to create files in {target.parent}", where=str(path)
        )


def check_folder_writable(folder: Path, *, field: str | None = None) -> None:
    """Raise InvalidInput unless `folder` can be written, or made where it does not exist.

    Creates and removes an empty folder, since permissions alone do not tell it of every file
    system; `field` is what names `folder`.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        what = "is not a folder"
        if nearest != folder:
            what = f"cannot be written: {nearest} {what}"
        raise InvalidInput(what, where=str(folder), field=field, fix="name another folder")
    try:
        Path(tempfile.mkdtemp(dir=nearest, prefix=".acdc-")).rmdir()
    except OSError as error:
        raise InvalidInput(
            f"cannot be written: {error.strerror or error}",
            where=str(folder),
            field=field,
            fix="name another folder",
        ) from error


def require_empty(folder: Path, *, field: str | None = None) -> None:
    """Raise InvalidInput unless `folder` is new or empty, and can be written.

    `field` is what names it.
    """
    try:
        empty = not any(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        empty = not folder.exists() and not folder.is_symlink()
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
        raise InvalidInput(why, where=str(folder), field=field) from error
    if not empty:
        raise InvalidInput(
            "exists already, and is not an empty folder",
            where=str(folder),
            field=field,
            fix="name a new or an empty folder",
        )
    check_folder_writable(folder, field=field)


def stream_number(path: Path) -> int | None:
    """Return the number of the open stream that `path` stands for; None for any other name."""
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


def _link_target(path: Path) -> Path:
    """Resolve a link; any other path is returned as it is. Raises InvalidInput for a loop."""
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidInput("is a link that leads nowhere", where=str(path)) from error


def _check_folder(path: Path) -> None:
    if not path.parent.exists():
        raise InvalidInput(
            "cannot be written: its folder does not exist",
            where=str(path),
            fix=f"mkdir -p {shlex.quote(str(path.parent))}",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
