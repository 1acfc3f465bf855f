"""`failed/<run_id>/FAILED.json`: written whole, replaced by the next failure of the run."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import cast

from acdc_pipeline.store import layout
from acdc_pipeline.store.durable import sync_folder, write
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.locks import locked


def write_failure(place: Place, run_id: str, data: bytes) -> None:
    """Keeps `data` as the failure of a run, in place of an earlier one."""
    if place.folder is not None:
        _write_local(place.folder, run_id, data)
    else:
        place.fs.pipe_file(_path(place, run_id), data)


def read_failure(place: Place, run_id: str) -> bytes | None:
    """What was kept for the run, None if nothing was."""
    try:
        return cast("bytes", place.fs.cat_file(_path(place, run_id)))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def remove_failure(place: Place, run_id: str) -> None:
    """Removes what was kept for the run, if anything was."""
    if place.folder is not None:
        _remove_local(place.folder, run_id)
        return
    with contextlib.suppress(FileNotFoundError):
        place.fs.rm_file(_path(place, run_id))


def failed_ids(place: Place) -> list[str]:
    """Every run that something is kept for, in the order of ids."""
    place.fs.invalidate_cache()
    try:
        entries = place.fs.ls(place.path(layout.FAILED), detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = {str(entry).rstrip("/").rpartition("/")[2] for entry in entries}
    return sorted(name for name in names if layout.is_run_id(name))


def _path(place: Place, run_id: str) -> str:
    return place.path(layout.FAILED, run_id, layout.FAILURE)


def _write_local(root: Path, run_id: str, data: bytes) -> None:
    tmp, folder = root / layout.TMP, root / layout.FAILED / run_id
    tmp.mkdir(parents=True, exist_ok=True)
    with _alone(tmp, run_id):
        for abandoned in tmp.glob(f"{run_id}.failed.*"):
            abandoned.unlink(missing_ok=True)
        aside = tmp / f"{run_id}.failed.{secrets.token_hex(8)}"
        write(aside, data)
        folder.mkdir(parents=True, exist_ok=True)
        aside.replace(folder / layout.FAILURE)
        sync_folder(folder)
        sync_folder(folder.parent)


def _remove_local(root: Path, run_id: str) -> None:
    folder = root / layout.FAILED / run_id
    if not folder.exists():
        return
    tmp = root / layout.TMP
    tmp.mkdir(exist_ok=True)
    with _alone(tmp, run_id):
        (folder / layout.FAILURE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # gone already, or holds what is not ours
            folder.rmdir()


def _alone(tmp: Path, run_id: str) -> contextlib.AbstractContextManager[None]:
    """Nobody else makes or removes this run's folder meanwhile."""
    return locked(tmp / f"{run_id}.failing")
