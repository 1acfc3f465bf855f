"""Listing and reading runs: only files that a commit marker names, only as they were committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from acdc_pipeline.errors import DamagedRun, NewerRun
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import ABANDONED, COMMITTED, Backend, FileInfo
from acdc_pipeline.store.errors import damaged_run
from acdc_pipeline.store.marker import Marker

# What file systems call the time at which a file was written, and the hash of its content.
_TIMES = ("mtime", "LastModified", "updated", "last_modified")
_TAGS = ("ETag", "etag")


@dataclass(frozen=True)
class RunState:
    """A run as it appears in a listing, which is enough to notice that it changed.

    Args:
        files: name, size, time and tag of each file, as text: another text means that a file was
            written since.
        committed: when the commit marker was written, in seconds since 1970; None where the file
            system does not tell.
    """

    files: str
    committed: float | None


def list_runs(backend: Backend) -> dict[str, dict[str, FileInfo]]:
    """Return the files of every run that has a commit marker, by path inside the run.

    Runs are in the order of their ids.

    Raises:
        StoreError: the bucket does not exist.
    """
    backend.refresh()
    found = backend.list_runs()
    if not found:
        backend.check_bucket()
    return {run_id: found[run_id] for run_id in sorted(found) if layout.MARKER in found[run_id]}


def unfinished_runs(backend: Backend, prefix: str) -> list[str]:
    """Return the runs whose id begins with `prefix` and whose folder has no commit marker."""
    return sorted(
        name
        for name in backend.names(layout.RUNS)
        if layout.is_run_id(name)
        and name.startswith(prefix)
        and not backend.exists(layout.RUNS, name, layout.MARKER)
    )


def read_marker(backend: Backend, run_id: str) -> Marker | None:
    """Return the commit marker of a run, None if it has none. Raises DamagedRun."""
    data = backend.read(layout.RUNS, run_id, layout.MARKER)
    return None if data is None else Marker.parse(run_id, data)


def read_listed_marker(backend: Backend, run_id: str, files: Mapping[str, FileInfo]) -> Marker:
    """Return the commit marker of a listed run after checking the sizes of its `files`.

    Raises:
        DamagedRun: the marker cannot be read, or a file is missing or has another size.
    """
    marker = read_marker(backend, run_id)
    if marker is None:
        raise damaged_run(run_id, f"{layout.MARKER} vanished")
    for name in marker.files:
        info = files.get(marker.path_of(name))
        marker.check_size(name, None if info is None else int(info["size"] or 0))
    return marker


def read_file(backend: Backend, marker: Marker, name: str) -> bytes:
    """Return one file of a run, verified. Raises DamagedRun."""
    if name not in marker.files:
        raise damaged_run(marker.run_id, f"{name} is not committed", field=layout.MARKER)
    data = backend.read(layout.RUNS, marker.run_id, marker.path_of(name))
    if data is None:
        raise damaged_run(marker.run_id, f"{name} is missing")
    marker.check(name, data)
    return data


def read_files(backend: Backend, run_id: str) -> dict[str, bytes] | None:
    """Return every file of a run, verified; None if the run is absent. Raises DamagedRun."""
    marker = read_marker(backend, run_id)
    if marker is None:
        return None
    return {name: read_file(backend, marker, name) for name in marker.files}


def is_intact(backend: Backend, run_id: str) -> bool:
    """Return whether a run is committed and every file of it is as it was committed.

    Raises:
        NewerRun: a newer version of this package committed it, and only that can judge it.
    """
    try:
        return read_files(backend, run_id) is not None
    except NewerRun:
        raise
    except DamagedRun:
        return False


def why_unneeded(backend: Backend, run_id: str, unfinished: str = ABANDONED) -> str | None:
    """Return why a file of `run_id` that no marker names is not needed.

    Returns:
        None if it is not a run id, or if only a newer version of this package can tell.
    """
    if not layout.is_run_id(run_id):
        return None
    try:
        return COMMITTED if is_intact(backend, run_id) else unfinished
    except NewerRun:
        return None


def state_of(files: Mapping[str, FileInfo]) -> RunState:
    """Return the state of a run from its listed files."""
    lines = [
        f"{name} {info.get('size')} {_time(info)!r} {_first(info, _TAGS)}"
        for name, info in sorted(files.items())
    ]
    return RunState("\n".join(lines), _time(files[layout.MARKER]))


def _time(info: FileInfo) -> float | None:
    value = _first(info, _TIMES)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None:
        return None
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _first(info: FileInfo, names: tuple[str, ...]) -> Any:
    return next((info[name] for name in names if info.get(name) is not None), None)
