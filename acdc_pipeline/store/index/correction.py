"""Correcting the index where it differs from the runs of the store, and listeners to that."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol, runtime_checkable

import pyarrow as pa

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.errors import storage_errors
from acdc_pipeline.store.index import parts as index_parts
from acdc_pipeline.store.index.parts import Parts
from acdc_pipeline.store.index.rows import SCHEMA, Row
from acdc_pipeline.text import pluralize


@runtime_checkable
class IndexListener(Protocol):
    """Listener to the upkeep of the index of the store at `url`."""

    def reading(self, url: str, done: int, total: int) -> None:
        """Report that `done` of `total` runs that are not in the index have been read."""

    def corrected(self, url: str, message: str) -> None:
        """Report how the index differed from the runs of the store."""


class SilentIndex(IndexListener):
    """A listener that reports nothing."""

    def reading(self, url: str, done: int, total: int) -> None:
        """Do nothing."""

    def corrected(self, url: str, message: str) -> None:
        """Do nothing."""


SILENT = SilentIndex()


def correct(
    backend: Backend,
    parts: Parts,
    *,
    gone: Set[str],
    new: Mapping[str, Row],
    listener: IndexListener,
) -> None:
    """Write what was learnt from the runs into the index, and report it.

    Where the index cannot be written, only that is reported: the next reader learns it again.

    Args:
        parts: the index as it was read.
        gone: indexed runs that are not in the store any more.
        new: rows of runs that the index lacks or has otherwise.
    """
    many = len(parts.intact) > index_parts.FEW_PARTS
    if not (new or gone or parts.damaged or many):
        return
    indexed = parts.table["run_id"].to_pylist()
    replaced = new.keys() & indexed
    problem = None
    try:
        with storage_errors(backend.url):
            # first, since the same rows are written under the same name again
            index_parts.remove(backend, parts.damaged)
            if gone or replaced:
                dropped = gone | replaced
                kept = [at for at, run_id in enumerate(indexed) if run_id not in dropped]
                added = pa.Table.from_pylist([dict(row) for row in new.values()], SCHEMA)
                rows = pa.concat_tables([index_parts.take(parts.table, kept), added])
                index_parts.replace(backend, parts.intact, rows)
            elif new:
                index_parts.write(backend, list(new.values()))
            if many and not (gone or replaced):
                index_parts.merge_smallest(backend)
    except StoreError as error:
        problem = error.problem
    changes = _changes(parts, added=len(new) - len(replaced), changed=len(replaced), gone=len(gone))
    if changes:
        unwritable = f", but cannot be written: {problem}" if problem else ""
        listener.corrected(backend.url, changes + unwritable)


def _changes(parts: Parts, *, added: int, changed: int, gone: int) -> str:
    """Describe a correction; empty where parts were only merged."""
    if not parts.intact and not parts.damaged and added:
        return f"built from {pluralize(added, 'run')}"
    counts = (
        (len(parts.damaged), "damaged file", "replaced"),
        (added, "missing run", "added"),
        (changed, "changed run", "read again"),
        (gone, "deleted run", "removed"),
    )
    done = [f"{pluralize(count, what)} {verb}" for count, what, verb in counts if count]
    return f"corrected: {', '.join(done)}" if done else ""
