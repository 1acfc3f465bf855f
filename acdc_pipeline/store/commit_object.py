"""Committing a run to an object store: the files first, then a marker that only one can put."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.faults import no_exclusive_put, store_faults
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.put_if_absent import put_if_absent
from acdc_pipeline.store.read import check_bucket, is_whole, read_marker

# A server may refuse one of two requests that meet although neither has been served yet.
_TRIES = 20


def commit_object(place: Place, run_id: str, files: Mapping[str, bytes]) -> bool:
    """Makes `files` the run `run_id`. True if we did, False if it was there already.

    Files go under `runs/<run_id>/<attempt>/`, where no reader looks. What makes them a run is
    `runs/<run_id>/_COMMIT.json`, put only if absent; of racing writers one succeeds, and the
    others delete their own files. What a writer leaves that dies, or that loses the server, is
    what nothing refers to; `leftovers` finds it.

    Raises:
        StoreError: the bucket does not exist.
    """
    if is_whole(place, run_id):
        return False
    check_bucket(place)
    attempt = secrets.token_hex(8)
    folder = place.path(layout.RUNS, run_id, attempt)
    try:
        for name, data in files.items():
            place.fs.pipe_file(f"{folder}/{name}", data)
    except BaseException:  # however it ended, no file without a marker stays
        _delete(place, folder, files)
        raise
    try:
        committed = _put_marker(place, Marker.of(run_id, files, attempt))
    except (PermissionError, NewerRun):
        _delete(place, folder, files)
        raise
    # After any other error the marker may be there, though the answer never came: files that it
    # may name are not deleted.
    if not committed:
        _delete(place, folder, files)
    return committed


def _put_marker(place: Place, marker: Marker) -> bool:
    """Puts `marker` unless a whole run is there. True if ours is what is there in the end."""
    run_id = marker.run_id
    path = place.path(layout.RUNS, run_id, layout.MARKER)
    for _ in range(_TRIES):
        if put_if_absent(place, path, marker.encode()):
            return True
        if _named(place, run_id) == marker.attempt:
            return True  # the answer to our first request was lost, and the client repeated it
        if is_whole(place, run_id):
            return False
        place.fs.invalidate_cache()
        if place.fs.exists(path):
            # A damaged run counts as absent. Two writers that replace it at once may both
            # succeed, one after the other; a reader sees one whole run or none.
            with suppress(FileNotFoundError):
                place.fs.rm_file(path)
    raise StoreError(f"the commit marker was refused {_TRIES} times", where=place.url)


def _named(place: Place, run_id: str) -> str | None:
    """The attempt that the marker which is there names; None where none can be read."""
    try:
        marker = read_marker(place, run_id)
    except NewerRun:
        raise
    except DamagedRun:
        return None
    return None if marker is None else marker.attempt


def _delete(place: Place, folder: str, names: Iterable[str]) -> None:
    """Deletes our own files. Where that fails they stay for `leftovers` to find.

    What led here counts more: a lost race is no failure, and an error is the one to be told.
    """
    with suppress(StoreError), store_faults(place.url):
        for name in names:
            with suppress(FileNotFoundError):
                place.fs.rm_file(f"{folder}/{name}")


def check_object(place: Place) -> None:
    """Does once what a commit does, with an empty object. Raises OSError where that fails.

    Raises:
        StoreError: the bucket does not exist, or the server cannot let one of two writers win.
    """
    check_bucket(place)
    path = place.path(layout.TMP, f"probe.{secrets.token_hex(8)}")
    put_if_absent(place, path, b"")
    overwritten = put_if_absent(place, path, b"")
    place.fs.rm_file(path)
    if overwritten:
        raise no_exclusive_put(place.url)
