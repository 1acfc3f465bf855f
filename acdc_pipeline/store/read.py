"""Reading runs: only what a commit marker lists, and only if it is what was committed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from acdc_pipeline.errors import DamagedRun, NewerRun
from acdc_pipeline.store import layout
from acdc_pipeline.store.faults import damaged_run, missing_bucket
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.marker import Marker

_T = TypeVar("_T")

# An object store answers in tens of milliseconds however little is asked of it.
_REQUESTS_AT_ONCE = 32


def inventory(place: Place) -> dict[str, dict[str, int]]:
    """Every run that has a commit marker: its files by path inside the run, with their sizes.

    Raises:
        StoreError: the bucket does not exist.
    """
    return {
        run_id: {name: int(info["size"] or 0) for name, info in files.items()}
        for run_id, files in inventory_of(place, listing(place)).items()
    }


def inventory_of(place: Place, listed: Mapping[str, _T]) -> dict[str, dict[str, _T]]:
    """`inventory`, with what was listed of each file. Raises StoreError as that does."""
    root = place.path(layout.RUNS)
    found: dict[str, dict[str, _T]] = {}
    for path, info in listed.items():
        run_id, _, inside = path[len(root) :].lstrip("/").partition("/")
        if layout.is_run_id(run_id) and inside:
            found.setdefault(run_id, {})[inside] = info
    if not found:
        check_bucket(place)
    return {run_id: found[run_id] for run_id in sorted(found) if layout.MARKER in found[run_id]}


def unfinished(place: Place, prefix: str) -> list[str]:
    """The runs whose id begins with `prefix` and that have a folder, but no commit marker."""
    try:
        entries = place.fs.ls(place.path(layout.RUNS), detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = {str(entry).rstrip("/").rpartition("/")[2] for entry in entries}
    return sorted(
        name
        for name in names
        if layout.is_run_id(name)
        and name.startswith(prefix)
        and not place.fs.exists(place.path(layout.RUNS, name, layout.MARKER))
    )


def listing(place: Place) -> Mapping[str, Mapping[str, Any]]:
    """Every file of every run by path, with what the file system says of it."""
    place.fs.invalidate_cache()
    # fsspec leaves out what it cannot list; a folder without permission would look empty.
    strictly: dict[str, Any] = {} if place.folder is None else {"on_error": _unless_gone}
    try:
        found = place.fs.find(place.path(layout.RUNS), detail=True, **strictly)
    except FileNotFoundError:
        return {}  # some clients say so of a prefix without objects, others of the bucket alone
    if place.folder is not None:
        _check_readable(place.folder / layout.RUNS, found)
    return cast("Mapping[str, Mapping[str, Any]]", found)


def _check_readable(runs: Path, found: Iterable[str]) -> None:
    """Raises PermissionError for a run that may not be listed: it would seem not to be there.

    fsspec asks nobody about folders below the first.
    """
    root = runs.as_posix()
    seen = {path[len(root) + 1 :].partition("/")[0] for path in found}
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in set(os.listdir(runs)) - seen:  # noqa: PTH208  (cheaper, and there are many runs)
            with suppress(FileNotFoundError, NotADirectoryError):
                os.listdir(runs / name)  # noqa: PTH208


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def check_bucket(place: Place) -> None:
    """Raises StoreError if `place` is in a bucket that does not exist.

    A bucket that exists but whose properties may not be read passes: what can be done inside it
    is for those to find out who try.
    """
    if place.bucket is None:
        return
    try:
        place.fs.info(place.bucket)
    except FileNotFoundError:
        raise missing_bucket(place.url, place.bucket) from None
    except PermissionError:
        return


def read_marker(place: Place, run_id: str) -> Marker | None:
    """The commit marker of a run, None if it has none.

    Raises:
        DamagedRun: there is one, but it cannot be used.
    """
    try:
        data = _read(place, place.path(layout.RUNS, run_id, layout.MARKER))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Marker.parse(run_id, data)


def read_file(place: Place, marker: Marker, name: str) -> bytes:
    """One file of a run, verified. Raises DamagedRun."""
    if name not in marker.files:
        raise damaged_run(marker.run_id, f"{name} is not committed", field=layout.MARKER)
    path = place.path(layout.RUNS, marker.run_id, marker.path_of(name))
    try:
        data = _read(place, path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise damaged_run(marker.run_id, f"{name} is missing") from None
    marker.check(name, data)
    return data


def _read(place: Place, path: str) -> bytes:
    return cast("bytes", place.fs.cat_file(path))


def read_files(place: Place, run_id: str) -> dict[str, bytes] | None:
    """Every file of a run, verified; None if the run is not there.

    Raises:
        DamagedRun: the run is committed, but a file is missing or differs.
    """
    marker = read_marker(place, run_id)
    if marker is None:
        return None
    return {name: read_file(place, marker, name) for name in marker.files}


def is_whole(place: Place, run_id: str) -> bool:
    """Whether the run is committed and every file of it is what was committed.

    Raises:
        NewerRun: a newer version committed it, so that nobody here may judge or replace it.
    """
    try:
        return read_files(place, run_id) is not None
    except NewerRun:
        raise
    except DamagedRun:
        return False


def checked_marker(place: Place, run_id: str, sizes: Mapping[str, int]) -> Marker:
    """The commit marker of a listed run, after a look at names and sizes. Raises DamagedRun."""
    marker = read_marker(place, run_id)
    if marker is None:
        raise damaged_run(run_id, f"{layout.MARKER} vanished")
    for name in marker.files:
        marker.check_size(name, sizes.get(marker.path_of(name)))
    return marker


def for_each(place: Place, function: Callable[[str], _T], run_ids: Iterable[str]) -> list[_T]:
    """`function` of every run in their order; object stores are asked many things at once."""
    if place.folder is not None:
        return [function(run_id) for run_id in run_ids]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(function, run_ids))
