"""Leftovers in an object store: attempts no marker names, checkpoints, evaluations, trials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.leftover import (
    ABANDONED,
    CHECKPOINT,
    PROBE,
    UNEVALUATED,
    Leftover,
    why_unneeded,
)
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.read import check_bucket, read_marker

_PROBE = re.compile(r"probe\.[0-9a-f]{16}", re.ASCII)


def leftovers_in_bucket(place: Place, now: float) -> Iterator[Leftover]:
    """Everything in the store that no run needs, however young.

    Raises:
        StoreError: the bucket does not exist, or the store does not say when an object was written.
    """
    check_bucket(place)
    place.fs.invalidate_cache()
    root = place.path(layout.RUNS)
    attempts: dict[str, dict[str, list[str]]] = {}
    committed: set[str] = set()
    for path in _files(place, root):
        run_id, _, inside = path[len(root) :].lstrip("/").partition("/")
        attempt, _, name = inside.partition("/")
        if inside == layout.MARKER:
            committed.add(run_id)
        elif layout.is_run_id(run_id) and layout.is_attempt(attempt) and name:
            attempts.setdefault(run_id, {}).setdefault(attempt, []).append(path)
    for run_id, found in attempts.items():
        for attempt, why in _unneeded(place, run_id, found, run_id in committed):
            folder = f"{layout.RUNS}/{run_id}/{attempt}"
            yield _item(place, folder, why, run_id, found[attempt], now)
    for path in _files(place, place.path(layout.CHECKPOINTS)):
        name = path.rpartition("/")[2]
        run_id = name.removesuffix(".parquet")
        why = why_unneeded(place, run_id, CHECKPOINT) if layout.is_run_id(run_id) else None
        if why is not None:
            yield _item(place, f"{layout.CHECKPOINTS}/{name}", why, run_id, [path], now)
    yield from _evaluations(place, now)
    for path in _files(place, place.path(layout.TMP)):
        name = path.rpartition("/")[2]
        if _PROBE.fullmatch(name):
            yield _item(place, f"{layout.TMP}/{name}", PROBE, None, [path], now)


def _evaluations(place: Place, now: float) -> Iterator[Leftover]:
    """The evaluations of runs that are not there."""
    evaluations: dict[str, list[str]] = {}
    for path in _files(place, place.path(layout.EVALUATIONS)):
        run_id, name = path.split("/")[-2:]
        if layout.is_run_id(run_id) and layout.evaluation_id_of(name):
            evaluations.setdefault(run_id, []).append(path)
    for run_id, paths in evaluations.items():
        if why_unneeded(place, run_id, UNEVALUATED) == UNEVALUATED:
            for path in paths:
                where = f"{layout.EVALUATIONS}/{run_id}/{path.rpartition('/')[2]}"
                yield _item(place, where, UNEVALUATED, run_id, [path], now)


def remove_from_bucket(place: Place, leftover: Leftover) -> None:
    """Removes it, object by object: of several at once a client may hide which failed."""
    place.fs.invalidate_cache()
    for path in _files(place, place.path(leftover.path)):
        with suppress(FileNotFoundError):
            place.fs.rm_file(path)


def _unneeded(
    place: Place, run_id: str, attempts: Iterable[str], committed: bool
) -> Iterator[tuple[str, str]]:
    """The attempts at a run that its marker does not name, each with why it is not needed."""
    names = list(attempts)
    if not committed:
        yield from ((name, ABANDONED) for name in names)
        return
    if len(names) < 2:
        return  # the one that is committed, or what is left of it
    try:
        marker = read_marker(place, run_id)
    except DamagedRun:
        return  # which attempt it named is not known
    why = why_unneeded(place, run_id)
    if marker is not None and why is not None:
        yield from ((name, why) for name in names if name != marker.attempt)


def _files(place: Place, root: str) -> list[str]:
    return [str(path) for path in place.fs.find(root)]


def _item(
    place: Place, path: str, why: str, run_id: str | None, files: Iterable[str], now: float
) -> Leftover:
    changed, size = 0.0, 0
    for file in files:
        info = place.fs.info(file)
        size += int(info["size"] or 0)
        try:
            changed = max(changed, place.fs.modified(file).timestamp())
        except NotImplementedError as error:
            raise StoreError(
                "this kind of store does not say when an object was written",
                where=place.url,
                fix="delete by hand what docs/object-stores.md lists",
            ) from error
    return Leftover(path, why, run_id, max(0.0, now - changed), size)
