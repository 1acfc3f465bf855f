"""Committing a run to an object store: the files first, then a marker that only one can put."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from acdc_pipeline.store import layout
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.read import check_bucket, is_whole


def commit_object(place: Place, run_id: str, files: Mapping[str, bytes]) -> bool:
    """Makes `files` the run `run_id`. True if we did, False if it was there already.

    Files go under `runs/<run_id>/<attempt>/`, where no reader looks. What makes them a run is
    `runs/<run_id>/_COMMIT.json`, put only if absent; of racing writers one succeeds, and the
    others delete their own files. A writer that dies leaves files that nothing refers to.

    Raises:
        StoreError: the bucket does not exist.
    """
    if is_whole(place, run_id):
        return False
    check_bucket(place)
    attempt = secrets.token_hex(8)
    folder = place.path(layout.RUNS, run_id, attempt)
    committed = False
    try:
        for name, data in files.items():
            place.fs.pipe_file(f"{folder}/{name}", data)
        committed = _put_marker(place, run_id, Marker.of(run_id, files, attempt))
    finally:
        if not committed:
            _delete(place, folder)
    return committed


def _put_marker(place: Place, run_id: str, marker: Marker) -> bool:
    path = place.path(layout.RUNS, run_id, layout.MARKER)
    while True:
        try:
            place.fs.pipe_file(path, marker.encode(), mode="create")
        except FileExistsError:
            if is_whole(place, run_id):
                return False
            # A damaged run counts as absent. Two writers that replace it at once may both
            # succeed, one after the other; a reader sees one whole run or none.
            place.fs.rm_file(path)
        else:
            return True


def _delete(place: Place, folder: str) -> None:
    place.fs.invalidate_cache()
    if place.fs.exists(folder):
        place.fs.rm(folder, recursive=True)


def check_object(place: Place) -> None:
    """Puts and deletes one empty object. Raises StoreError or OSError where that fails."""
    check_bucket(place)
    path = place.path(layout.TMP, f"probe.{secrets.token_hex(8)}")
    place.fs.pipe_file(path, b"")
    place.fs.rm_file(path)
