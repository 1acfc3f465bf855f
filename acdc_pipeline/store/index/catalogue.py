"""The runs of a store that fit a request: looked up in the index, compared with the runs there.

The names of the run folders say which runs the index lacks: those are read. Of each run that is
returned, the files are listed and compared with the fingerprint in its row; where they differ, the
run is read. So a run that was deleted, replaced, damaged, or committed without the index is found,
and the index is corrected.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend, FileInfo
from acdc_pipeline.store.codec import decode_summary
from acdc_pipeline.store.index.correction import SILENT, IndexListener, correct
from acdc_pipeline.store.index.parts import read_parts
from acdc_pipeline.store.index.rows import (
    Row,
    fingerprint,
    row_of,
    rows_of,
    size_key,
    summary_of,
)
from acdc_pipeline.store.reader import read_file, read_listed_marker
from acdc_pipeline.store.record import RunSummary

_BATCH = 500
"""Runs that are read between two reports of progress."""

_FEW_RUNS = 64
"""Up to this number of runs that are named, reading them is faster than reading the index."""


@dataclass(frozen=True)
class Wanted:
    """The runs that are requested.

    Args:
        run_ids: their ids; None for any.
        where: the values that fit, by column of the index: `{"task": {"ioi"}}`.
        limit: at most so many of them, the first in the order of `acdc runs list`.
    """

    run_ids: Collection[str] | None = None
    where: Mapping[str, Collection[str]] = field(default_factory=dict)
    limit: int | None = None

    def fits(self, row: Row) -> bool:
        """Return whether the run in `row` is one of them, by its columns."""
        return all(row[name] in values for name, values in self.where.items())


def equal(**values: str | None) -> dict[str, Collection[str]]:
    """Return `Wanted.where` for columns that have one value; None fits every value."""
    return {name: {value} for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class FoundRuns:
    """The runs that fit a request.

    Args:
        summaries: in the order of `acdc runs list` if there is a limit, else in that of their ids.
        fitting: number of runs that fit, without those found damaged; the limit may have left out
            some of them.
        stored: number of runs in the store, whether they fit or not.
        damaged: the damage of each run that is damaged, by id: of those that would be returned, and
            of those of which the index does not know what they are.
        tasks, models: the names that occur in the store.
    """

    summaries: tuple[RunSummary, ...]
    fitting: int
    stored: int
    damaged: Mapping[str, DamagedRun]
    tasks: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


def find_runs(backend: Backend, wanted: Wanted, listener: IndexListener = SILENT) -> FoundRuns:
    """Return the runs of a store that fit `wanted`, and correct the index where it differs.

    Raises:
        StoreError: the bucket does not exist.
        OSError: the store cannot be read.
    """
    if wanted.run_ids is not None and len(wanted.run_ids) <= _FEW_RUNS:
        return _find_named(backend, wanted)
    # The parts first: a run is committed before it is in a part, so that a row without a run
    # belongs to a run that was deleted.
    parts = read_parts(backend)
    lookup = _Lookup(backend, parts.table, backend.names(layout.RUNS))
    if not lookup.names:
        backend.check_bucket()
    lookup.read_unknown(wanted.run_ids, listener)
    found = lookup.select(wanted)
    correct(backend, parts, gone=lookup.gone, new=lookup.new, listener=listener)
    return found


@dataclass
class _Reader:
    """Reads runs themselves, and keeps their rows, and the damage of damaged ones."""

    backend: Backend
    new: dict[str, Row] = field(default_factory=dict)
    summaries: dict[str, RunSummary] = field(default_factory=dict)
    damaged: dict[str, DamagedRun] = field(default_factory=dict)

    def read(self, files: Mapping[str, Mapping[str, FileInfo]]) -> None:
        """Read the runs whose files are given; those without a commit marker do not exist."""
        committed = {run_id: some for run_id, some in files.items() if layout.MARKER in some}
        found = self.backend.map(self._read_one, committed.items())
        for run_id, item in zip(committed, found, strict=True):
            if isinstance(item, DamagedRun):
                self.damaged[run_id] = item
            else:
                self.new[run_id], self.summaries[run_id] = item

    def _read_one(
        self, item: tuple[str, Mapping[str, FileInfo]]
    ) -> tuple[Row, RunSummary] | DamagedRun:
        run_id, files = item
        try:
            marker = read_listed_marker(self.backend, run_id, files)
            summary = decode_summary(run_id, read_file(self.backend, marker, layout.RUN))
        except DamagedRun as damage:
            return damage
        return row_of(summary, marker.attempt, files), summary


class _Lookup(_Reader):
    """The runs of a store, by the index where it is right and read where it is not.

    Attributes:
        names: what is in the folder of runs.
        gone: indexed runs that are not there.
    """

    def __init__(self, backend: Backend, table: pa.Table, names: set[str]) -> None:
        super().__init__(backend)
        self.names = names
        self._table = table
        self._cells: dict[str, list[Any]] = {}
        run_ids = self._column("run_id")
        self._positions: dict[str, int] = dict(zip(run_ids, range(len(run_ids)), strict=True))
        self._repeats: dict[str, list[int]] = {}
        if len(self._positions) < len(run_ids):
            # A run has several rows where it was replaced, or where its row was merged twice.
            for at, run_id in enumerate(run_ids):
                self._repeats.setdefault(run_id, []).append(at)
        self.gone = self._positions.keys() - names
        for run_id in self.gone:
            del self._positions[run_id]

    def read_unknown(self, run_ids: Collection[str] | None, listener: IndexListener) -> None:
        """Read the runs that the index lacks; if `run_ids` are given, only those of them."""
        lacking = self.names - self._positions.keys()
        wanted = lacking if run_ids is None else lacking.intersection(run_ids)
        unknown = sorted(filter(layout.is_run_id, wanted))
        for start in range(0, len(unknown), _BATCH):
            if len(unknown) > _BATCH:
                listener.reading(self.backend.url, start, len(unknown))
            batch = unknown[start : start + _BATCH]
            self.read(self.backend.list_files(batch, len(self.names)))

    def select(self, wanted: Wanted) -> FoundRuns:
        """Return the runs that fit `wanted`, compared with their files."""
        fitting = self._fitting(wanted)
        if wanted.limit is None:
            chosen = self._compare(sorted(fitting))
        else:
            chosen = self._first(fitting, wanted.limit)
        new = self.new.values()
        return FoundRuns(
            summaries=tuple(chosen),
            fitting=len(set(fitting) - self.damaged.keys()),
            stored=len(self._positions.keys() | self.new.keys()),
            damaged=dict(sorted(self.damaged.items())),
            tasks=frozenset(self._column("task")).union(row["task"] for row in new),
            models=frozenset(self._column("model")).union(row["model"] for row in new),
        )

    def _fitting(self, wanted: Wanted) -> list[str]:
        """Return the runs that fit, by their columns."""
        # Rows of one run differ in its results alone: the run id decides everything else.
        found: Iterable[str] = self._positions
        if wanted.run_ids is not None:
            found = self._positions.keys() & wanted.run_ids
        for name, values in wanted.where.items():
            cells, positions = self._column(name), self._positions
            found = [run_id for run_id in found if cells[positions[run_id]] in values]
        return [*found, *(run_id for run_id, row in self.new.items() if wanted.fits(row))]

    def _first(self, run_ids: Sequence[str], limit: int) -> list[RunSummary]:
        """Return the first runs in the order of `acdc runs list`; damaged ones do not count."""
        queue = self._sort_keys(run_ids)
        heapq.heapify(queue)
        chosen: list[RunSummary] = []
        while queue and len(chosen) < limit:
            count = min(limit - len(chosen), len(queue))
            chosen += self._compare([heapq.heappop(queue)[-1] for _ in range(count)])
        return chosen

    def _sort_keys(self, run_ids: Sequence[str]) -> list[tuple[str, str, str, float, str]]:
        names = ("task", "model", "method", "threshold", "method_share", "method_edges")
        task, model, method, *sizes = (self._column(name) for name in names)
        size = [size_key(*values) for values in zip(*sizes, strict=True)]
        keys = []
        for run_id in run_ids:
            if (row := self.new.get(run_id)) is None:
                at = self._positions[run_id]
                keys.append((task[at], model[at], method[at], size[at], run_id))
            else:
                of_row = size_key(*(row[name] for name in names[3:]))
                keys.append((row["task"], row["model"], row["method"], of_row, run_id))
        return keys

    def _compare(self, run_ids: Sequence[str]) -> list[RunSummary]:
        """Return the summaries of runs, in order; read those whose files are not as indexed."""
        indexed = [run_id for run_id in run_ids if run_id not in self.new]
        listed = self.backend.list_files(indexed, len(self.names))
        changed: dict[str, Mapping[str, FileInfo]] = {}
        for run_id, row in self._rows(indexed, listed):
            try:
                if row is None:
                    raise ValueError("its files are not as indexed")
                self.summaries[run_id] = summary_of(row)
            except ValueError:
                changed[run_id] = listed.get(run_id, {})
        self.read(changed)
        return [self.summaries[run_id] for run_id in run_ids if run_id in self.summaries]

    def _rows(
        self, run_ids: Sequence[str], listed: Mapping[str, Mapping[str, FileInfo]]
    ) -> Iterator[tuple[str, Row | None]]:
        """Yield the row of each run that agrees with its listed files; None where none does."""
        row_at = rows_of(self._table, few=len(run_ids))
        for run_id in run_ids:
            candidates = map(row_at, self._repeats.get(run_id, (self._positions[run_id],)))
            files = listed.get(run_id, {})
            agree = (r for r in candidates if fingerprint(files, r["attempt"]) == r["fingerprint"])
            yield run_id, next(agree, None)

    def _column(self, name: str) -> list[Any]:
        if name not in self._cells:
            self._cells[name] = self._table[name].to_pylist()
        return self._cells[name]


def _find_named(backend: Backend, wanted: Wanted) -> FoundRuns:
    """Return those of a few named runs that are stored and fit; the index is not used."""
    run_ids = sorted(i for i in wanted.run_ids or () if layout.is_run_id(i))
    backend.refresh()
    reader = _Reader(backend)
    reader.read(backend.list_files(run_ids, len(run_ids) * 1000))
    fitting = [i for i in run_ids if i in reader.new and wanted.fits(reader.new[i])]
    chosen = tuple(reader.summaries[i] for i in fitting)
    return FoundRuns(chosen, len(fitting), len(reader.new), reader.damaged)
