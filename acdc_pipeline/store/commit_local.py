"""Committing a run to a local folder: written aside, made durable, then renamed into place."""

from __future__ import annotations

import errno
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.store import layout
from acdc_pipeline.store.durable import sync_folders, write_all
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.locks import locked, locked_if_free
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.read import is_whole

# What a rename says when the target is a file, or a folder with something in it.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)

_ATTEMPT = re.compile(r"([0-9a-f]+\.[0-9a-f]{16})(?:\.lock)?", re.ASCII)


def commit_local(place: Place, root: Path, run_id: str, files: Mapping[str, bytes]) -> bool:
    """Makes `files` the run `run_id`. True if we did, False if it was there already.

    The run is written to `tmp/<run_id>.<attempt>/`, marker last, and appears by one rename. Of
    racing writers one succeeds, and the others delete their own folder. What writers that died
    left behind is removed by the next commit of the same run. A damaged run is moved to
    `quarantine/` and replaced.

    Args:
        place: the store.
        root: its folder; made if it does not exist.
        run_id: the run, already checked to be a run id.
        files: its files by name, without the marker.
    """
    runs, tmp = root / layout.RUNS, root / layout.TMP
    runs.mkdir(parents=True, exist_ok=True)
    tmp.mkdir(exist_ok=True)
    _remove_abandoned(tmp, run_id)
    if is_whole(place, run_id):
        return False
    with _attempt(tmp, run_id) as folder:
        marker = Marker.of(run_id, files).encode()
        write_all(folder, {**files, layout.MARKER: marker})
        committed = _publish(place, run_id, folder, runs / run_id)
    if committed:
        sync_folders(runs, root)
    return committed


def check_local(root: Path) -> None:
    """Does once what a commit does, with an empty folder. Raises OSError where that fails."""
    runs, tmp = root / layout.RUNS, root / layout.TMP
    runs.mkdir(parents=True, exist_ok=True)
    tmp.mkdir(exist_ok=True)
    name = f"probe.{secrets.token_hex(8)}"
    (tmp / name).mkdir()
    (tmp / name).rename(runs / name)
    (runs / name).rmdir()


def _publish(place: Place, run_id: str, folder: Path, target: Path) -> bool:
    if _renamed(folder, target):
        return True
    # Something has the name. Only the holder of this lock moves such things away, so that what
    # is moved is what was found damaged.
    with locked(folder.parent / f"{run_id}.repair"):
        while not is_whole(place, run_id):
            if target.exists():
                _quarantine(target)
            if _renamed(folder, target):
                return True
        return False


def _renamed(folder: Path, target: Path) -> bool:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _quarantine(target: Path) -> None:
    aside = target.parent.parent / layout.QUARANTINE
    aside.mkdir(exist_ok=True)
    target.rename(aside / f"{target.name}.{secrets.token_hex(8)}")


@contextmanager
def _attempt(tmp: Path, run_id: str) -> Iterator[Path]:
    """A new folder in `tmp`, locked as long as this process lives, gone afterwards."""
    folder = tmp / f"{run_id}.{secrets.token_hex(8)}"
    with locked(tmp / f"{folder.name}.lock"):
        folder.mkdir()
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)


def _remove_abandoned(tmp: Path, run_id: str) -> None:
    """Removes attempts at this run whose process is gone: their locks went with it."""
    matches = (_ATTEMPT.fullmatch(path.name) for path in tmp.glob(f"{run_id}.*"))
    for name in sorted({match[1] for match in matches if match}):
        with locked_if_free(tmp / f"{name}.lock") as free:
            if free and (tmp / name).exists():
                shutil.rmtree(tmp / name)
