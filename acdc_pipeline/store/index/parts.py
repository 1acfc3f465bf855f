"""The files of the index: Parquet parts that never change, named by their content.

Every commit adds a part of one row. Parts are merged into larger ones: the merged part is written
first, then the parts in it are removed, so that each row is in at least one part at any time. Rows
that occur twice say the same. For these reasons no lock is needed, and processes that merge the
same parts at once write the same file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.codec import read_parquet
from acdc_pipeline.store.errors import storage_errors
from acdc_pipeline.store.index.rows import SCHEMA, Row, row_of
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.record import RunSummary

FEW_PARTS = 32
"""Up to this number of parts, merging them gains a reader nothing."""

_NAME = re.compile(r"([0-9]{1,12})-([0-9a-f]{32})\.parquet", re.ASCII)

# One of 128 commits merges the small parts. The run id decides, so that no state is needed.
_MERGING_RUNS = ("00", "80")

# Parts of a level are merged with the next level once they have about as many rows as that.
_SMALL_ROWS = 64

# Rows that this process committed, so that it reads none of them again to merge them. Names are
# hashes of the content: the same name is the same row in any store.
_own: dict[Part, pa.Table] = {}
_MOST_OWN = 256

# A part may be merged away between the listing and the reading.
_TRIES = 5


@dataclass(frozen=True)
class Part:
    """A file of the index: its name, and the rows that the name promises."""

    name: str
    rows: int


@dataclass(frozen=True)
class Parts:
    """The index as it was read.

    Args:
        table: the rows of all intact parts; a run may have several.
        damaged: parts whose content is not what their name says.
    """

    table: pa.Table
    intact: tuple[Part, ...]
    damaged: tuple[Part, ...]


def append_to_index(backend: Backend, marker: Marker, summary: RunSummary) -> None:
    """Add the row of a run that was just committed; now and then, merge small parts.

    Where the index cannot be written nothing is raised: readers add the run themselves.
    """
    with suppress(StoreError), storage_errors(backend.url):
        write(backend, [row_of(summary, marker.attempt, backend.files_of(marker))])
        if summary.run_id.endswith(_MERGING_RUNS):
            backend.refresh()
            merge_smallest(backend)


def write(backend: Backend, rows: Sequence[Row]) -> Part:
    """Write a part of `rows`. Raises OSError."""
    return _write_table(backend, pa.Table.from_pylist([dict(row) for row in rows], SCHEMA))


def list_parts(backend: Backend) -> list[Part]:
    """Return the parts of the index, the smallest first."""
    matches = (_NAME.fullmatch(name) for name in backend.names(*layout.INDEX))
    parts = [Part(match[0], int(match[1])) for match in matches if match]
    return sorted(parts, key=lambda part: (part.rows, part.name))


def read_parts(backend: Backend) -> Parts:
    """Return the whole index. Parts that vanish meanwhile were merged, and are found there."""
    backend.refresh()
    read: dict[Part, pa.Table | None] = {}
    for _ in range(_TRIES):
        found = list_parts(backend)
        new = [part for part in found if part not in read]
        contents = backend.map(lambda part: backend.read(*layout.INDEX, part.name), new)
        read = {part: table for part, table in read.items() if part in found}
        for part, content in zip(new, contents, strict=True):
            if content is not None:
                read[part] = _decode(part, content)
        if len(read) == len(found):
            break
        backend.refresh()
    tables = [table for table in read.values() if table is not None]
    return Parts(
        table=pa.concat_tables(tables) if tables else pa.Table.from_batches([], SCHEMA),
        intact=tuple(part for part, table in read.items() if table is not None),
        damaged=tuple(part for part, table in read.items() if table is None),
    )


def merge_smallest(backend: Backend) -> None:
    """Replace small parts, if there are many, by one part with their rows. Raises OSError.

    Nothing happens where one of them is gone: another process merges at the same time.
    """
    parts = _smallest(list_parts(backend))
    if len(parts) <= FEW_PARTS:
        return

    def read(part: Part) -> pa.Table | None:
        if (table := _own.pop(part, None)) is not None:
            return table
        content = backend.read(*layout.INDEX, part.name)
        return None if content is None else _decode(part, content)

    tables = [table for table in backend.map(read, parts) if table is not None]
    if len(tables) == len(parts):
        replace(backend, parts, pa.concat_tables(tables))


def replace(backend: Backend, parts: Iterable[Part], table: pa.Table) -> None:
    """Replace `parts` by one part with the rows of `table`. Raises OSError."""
    written = _write_table(backend, _without_repeats(table)).name if table.num_rows else None
    remove(backend, [part for part in parts if part.name != written])


def remove(backend: Backend, parts: Iterable[Part]) -> None:
    """Remove parts; one that is gone is no error. Raises OSError."""

    def remove_one(part: Part) -> None:
        with suppress(FileNotFoundError):
            backend.fs.rm_file(backend.path(*layout.INDEX, part.name))

    backend.map(remove_one, parts)


def take(table: pa.Table, positions: Sequence[int]) -> pa.Table:
    """Return the rows at `positions`."""
    return table.take(pa.array(positions, pa.int64()))


def _smallest(parts: Sequence[Part]) -> list[Part]:
    """Return the parts to merge: the smallest, and each next one that does not outweigh them."""
    chosen: list[Part] = []
    rows = 0
    for part in parts:
        if part.rows > max(_SMALL_ROWS, 2 * rows):
            break
        chosen.append(part)
        rows += part.rows
    return chosen


def _write_table(backend: Backend, table: pa.Table) -> Part:
    sink = pa.BufferOutputStream()
    # A commit writes one row: what makes large parts small would take it most of its time.
    large = table.num_rows > 1
    pq.write_table(
        table,
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd" if large else "none",
        use_dictionary=large,
        write_statistics=large,
        store_schema=True,
    )
    data = sink.getvalue().to_pybytes()
    part = Part(f"{table.num_rows}-{_digest(data)}.parquet", table.num_rows)
    backend.write_cache(data, *layout.INDEX, part.name)
    if not large:
        _own[part] = table
        if len(_own) > _MOST_OWN:  # other processes merged them
            _own.pop(next(iter(_own)))
    return part


def _decode(part: Part, content: bytes) -> pa.Table | None:
    """Return the rows of a part; None if it is damaged."""
    if not part.name.endswith(f"-{_digest(content)}.parquet"):
        return None
    try:
        table = read_parquet(content)
    except (pa.ArrowException, OSError):
        return None
    return table if table.schema.equals(SCHEMA) else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _without_repeats(table: pa.Table) -> pa.Table:
    """Return the rows sorted by run, each once."""
    keys = list(
        zip(table["run_id"].to_pylist(), table["fingerprint"].to_pylist(), strict=True),
    )
    first: dict[tuple[str, str], int] = {}
    for position, key in enumerate(keys):
        first.setdefault(key, position)
    return take(table, [first[key] for key in sorted(first)])
