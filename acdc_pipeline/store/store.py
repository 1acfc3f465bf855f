"""The results store: immutable runs in `<store>/runs/<run_id>/`, and what belongs to them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acdc_pipeline.errors import DamagedRun, NewerRun, UnknownName
from acdc_pipeline.graph import Decision
from acdc_pipeline.specs.own_metric import check_storable
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import COMMITTED, Backend, Leftover
from acdc_pipeline.store.codec import (
    decode,
    decode_checkpoint,
    encode,
    encode_checkpoint,
)
from acdc_pipeline.store.errors import damaged_run, storage_errors, write_errors
from acdc_pipeline.store.evaluation import (
    Evaluations,
    StoredEvaluation,
    encode_evaluation,
    read_evaluation,
    read_evaluations,
)
from acdc_pipeline.store.failure import RunFailure, decode_failure, encode_failure
from acdc_pipeline.store.index import (
    SILENT,
    FoundRuns,
    IndexListener,
    Wanted,
    append_to_index,
    equal,
    find_runs,
)
from acdc_pipeline.store.location import default_location, open_backend
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.reader import (
    RunState,
    is_intact,
    list_runs,
    read_file,
    read_files,
    read_marker,
    state_of,
)
from acdc_pipeline.store.record import RunRecord, RunSummary, summary_of
from acdc_pipeline.store.resolve import failed_ids, resolve, unknown_run
from acdc_pipeline.store.run_list import RunList, sort_runs

Mode = Literal["read", "write"]


def open_store(
    location: str | Path | None = None,
    mode: Mode = "read",
    options: Mapping[str, Any] | None = None,
    listener: IndexListener = SILENT,
) -> Store:
    """Open the store at `location`; one that does not exist yet has no runs.

    Args:
        location: a folder or any URL that fsspec supports; None means `ACDC_STORE`, else
            `results/runs` of the project folder, else `./acdc-results`.
        mode: `write` creates the store and checks that a commit would work, so that a run does not
            fail at its end; `read` changes nothing.
        options: options of the file system of fsspec (endpoint, credentials, …).
        listener: as for `Store`.

    Raises:
        StoreError: it is a file, of an unknown kind, or (`write`) cannot be written.
    """
    if location is None:
        location = default_location(os.environ, Path.cwd())
    store = Store(open_backend(location, options), listener)
    store.backend.check_usable()
    if mode == "write":
        store.check_writable()
    return store


def as_store(store: Store | str | Path | None, mode: Mode = "write") -> Store:
    """Return `store`, opened by `open_store` if it is a location."""
    return store if isinstance(store, Store) else open_store(store, mode)


@dataclass(frozen=True)
class Store:
    """A store of immutable runs, each complete or absent. Safe for many concurrent processes.

    Args:
        listener: what is called when the index of the runs is built or corrected.
    """

    backend: Backend
    listener: IndexListener = field(default=SILENT, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"<store {self.url}>"

    @property
    def url(self) -> str:
        return self.backend.url

    @property
    def folder(self) -> Path | None:
        """The local folder; None for object stores."""
        return self.backend.folder

    @property
    def exists(self) -> bool:
        """Whether its folder exists; True for object stores, which are not contacted."""
        return self.backend.may_exist()

    def path(self, run_id: str) -> str:
        """Return the path or URL of a run. Raises StoreError for an invalid run id."""
        return "/".join((self.url, layout.RUNS, layout.checked_run_id(run_id)))

    def check_writable(self) -> None:
        """Raise StoreError if a commit would not work."""
        with storage_errors(self.url):
            self.backend.check_writable()

    def commit(self, record: RunRecord) -> bool:
        """Store a run completely or not at all; a damaged run is replaced.

        Returns:
            True if this call stored it, False if the store had it already.

        Raises:
            InvalidInput: the metric of the run is a function without a version.
            NewerRun: a newer version of this package committed the run; it is left unchanged.
            StoreFailed: the store failed (no space, no answer, no permission any more). Nothing is
                visible then, and committing again is safe.
        """
        check_storable(getattr(record.spec.method, "metric", None), self.url)
        run_id = layout.checked_run_id(record.spec.run_id())
        files = encode(record)
        with write_errors(self.url):
            marker = self.backend.commit(run_id, files)
            self.backend.remove_failure(run_id)
            self.backend.remove_checkpoint(run_id)
        if marker is None:
            return False
        append_to_index(self.backend, marker, summary_of(record))
        return True

    def has(self, run_id: str) -> bool:
        """Return whether a run is stored and undamaged.

        Raises:
            NewerRun: a newer version of this package committed it.
        """
        with storage_errors(self.url):
            return is_intact(self.backend, layout.checked_run_id(run_id))

    def intact(self, run_ids: Iterable[str]) -> frozenset[str]:
        """Return those of `run_ids` that are stored, undamaged and not of a newer version."""

        def check(run_id: str) -> bool:
            try:
                return is_intact(self.backend, run_id)
            except NewerRun:
                return False

        with storage_errors(self.url):
            self.backend.refresh()
            names = self.backend.names(layout.RUNS)
            if not names:
                self.backend.check_bucket()
            listed = [run_id for run_id in run_ids if run_id in names]
            results = self.backend.map(check, listed)
        return frozenset(run_id for run_id, good in zip(listed, results, strict=True) if good)

    def get(self, run_id: str) -> RunRecord:
        """Return the record of a run after verifying every byte.

        Raises:
            UnknownName: no such run.
            DamagedRun: its files differ from what was committed.
        """
        with storage_errors(self.url):
            files = read_files(self.backend, layout.checked_run_id(run_id))
            if files is None:
                raise unknown_run(self.backend, run_id)
        return decode(run_id, files)

    def read_file(self, run_id: str, name: str) -> bytes:
        """Return one file of a run, verified. Raises UnknownName or DamagedRun."""
        with storage_errors(self.url):
            marker = self._marker(run_id)
            if name not in marker.files:
                raise UnknownName.among(f"file of run {run_id}", name, marker.files)
            return read_file(self.backend, marker, name)

    def read_present(self, run_id: str, names: Iterable[str]) -> dict[str, bytes]:
        """Like `read_file`, those of the files `names` that a run has."""
        with storage_errors(self.url):
            marker = self._marker(run_id)
            present = (name for name in names if name in marker.files)
            return {name: read_file(self.backend, marker, name) for name in present}

    def run_ids(self) -> list[str]:
        """Return the ids of all committed runs, sorted."""
        with storage_errors(self.url):
            self.backend.refresh()
            found = self.backend.committed_ids()
            if not found:
                self.backend.check_bucket()
            return found

    def states(self) -> dict[str, RunState]:
        """Return the listed state of every committed run, sorted by id."""
        with storage_errors(self.url):
            return {run_id: state_of(files) for run_id, files in list_runs(self.backend).items()}

    def summaries(
        self,
        run_ids: Iterable[str] | None = None,
        *,
        where: Mapping[str, Collection[str]] | None = None,
    ) -> list[RunSummary]:
        """Return the summaries of the runs that fit, sorted by id and without damaged ones.

        They come from the index. Of each run, the listed files are compared with it; a run that
        differs is read, and its `run.json` verified. `get` and `damaged` verify everything.

        Args:
            run_ids: their ids; None for any.
            where: the values that fit, by column of the index, such as `{"task": {"ioi"}}`.
        """
        run_ids = None if run_ids is None else frozenset(run_ids)
        return list(self.find(Wanted(run_ids, where or {})).summaries)

    def find(self, wanted: Wanted) -> FoundRuns:
        """Return the runs that fit `wanted`, from the index, which is corrected where it differs.

        Raises:
            StoreError: the store cannot be read.
        """
        with storage_errors(self.url):
            return find_runs(self.backend, wanted, self.listener)

    def runs(
        self, *, task: str | None = None, model: str | None = None, method: str | None = None
    ) -> RunList:
        """Return the runs of one task, model or method, by name, or all; without damaged ones.

        They come with their evaluations, in the order of `acdc runs list`.
        """
        found = sort_runs(self.summaries(where=equal(task=task, model=model, method=method)))
        return RunList(tuple(found), self.evaluations([summary.run_id for summary in found]).by_run)

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return all runs as a data frame, see `RunList.to_frame`."""
        return self.runs().to_frame(library=library)

    def damaged(self) -> list[DamagedRun]:
        """Return an error for every committed run whose files differ from what was committed."""

        def damage(run_id: str) -> DamagedRun | None:
            try:
                files = read_files(self.backend, run_id)
                if files is None:
                    return damaged_run(run_id, f"{layout.MARKER} vanished")
                decode(run_id, files)
            except DamagedRun as error:
                return error
            return None

        with storage_errors(self.url):
            found = self.backend.map(damage, list_runs(self.backend))
        return [item for item in found if item is not None]

    def record_failure(self, failure: RunFailure) -> None:
        """Store the cause of a failed run, replacing an earlier one. Raises StoreFailed."""
        run_id = layout.checked_run_id(failure.run_id)
        with write_errors(self.url):
            self.backend.write_failure(run_id, encode_failure(failure))

    def failure(self, run_id: str) -> RunFailure | None:
        """Return the cause of a failed run, None if there is none. Raises DamagedRun."""
        with storage_errors(self.url):
            data = self.backend.read(layout.FAILED, layout.checked_run_id(run_id), layout.FAILURE)
        return None if data is None else decode_failure(run_id, data)

    def failures(self) -> list[RunFailure]:
        """Return every run that failed and was not committed since, sorted by id."""
        return [item for item in self._failures() if isinstance(item, RunFailure)]

    def damaged_failures(self) -> list[DamagedRun]:
        """Return an error for every `FAILED.json` that `failures` leaves out as unreadable."""
        return [item for item in self._failures() if isinstance(item, DamagedRun)]

    def save_checkpoint(
        self, run_id: str, decisions: Sequence[Decision], conditions: Mapping[str, str]
    ) -> None:
        """Store the first decisions of an unfinished run. Raises StoreFailed."""
        name = layout.checkpoint_name(layout.checked_run_id(run_id))
        data = encode_checkpoint(decisions, conditions)
        with write_errors(self.url):
            self.backend.write(data, layout.CHECKPOINTS, name)

    def checkpoint(self, run_id: str, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """Return the decisions that `save_checkpoint` stored under the same conditions.

        A checkpoint is a convenience: one that cannot be read counts as absent.
        """
        name = layout.checkpoint_name(layout.checked_run_id(run_id))
        with storage_errors(self.url):
            self.backend.refresh()
            data = self.backend.read(layout.CHECKPOINTS, name)
            return () if data is None else decode_checkpoint(data, conditions)

    def add_evaluation(self, evaluation: StoredEvaluation) -> None:
        """Store an evaluation of a run, replacing one of the same settings. Raises StoreFailed."""
        run_id = layout.checked_run_id(evaluation.run_id)
        name, data = f"{evaluation.evaluation_id}.json", encode_evaluation(evaluation)
        with write_errors(self.url):
            self.backend.write(data, layout.EVALUATIONS, run_id, name)

    def evaluation(self, run_id: str, evaluation_id: str) -> StoredEvaluation | None:
        """Return one evaluation of a run, None if there is none. Raises DamagedRun."""
        with storage_errors(self.url):
            self.backend.refresh()
            return read_evaluation(
                self.backend, layout.checked_run_id(run_id), f"{evaluation_id}.json"
            )

    def evaluations(self, run_ids: Iterable[str] | None = None) -> Evaluations:
        """Return the evaluations of all runs, or of `run_ids`."""
        with storage_errors(self.url):
            return read_evaluations(self.backend, run_ids)

    def leftovers(self, *, older_than: float, now: float) -> list[Leftover]:
        """Return what interrupted writers left behind and no run needs, sorted by path.

        Files with names that this package does not use, and files that a process of this machine
        has locked, are left out.

        Args:
            older_than: minimal age, in seconds since the last change, of everything that a writer
                or reader might still need. Attempts at a run that is committed have no such limit.
            now: seconds since the epoch.

        Raises:
            StoreError: the store does not report when its objects were written.
        """
        with storage_errors(self.url):
            found = self.backend.leftovers(now)
            due = [item for item in found if item.why == COMMITTED or item.age >= older_than]
        return sorted(due, key=lambda item: item.path)

    def remove(self, leftover: Leftover) -> None:
        """Remove one of `leftovers`; one that is gone is no error. Raises StoreError."""
        with storage_errors(self.url):
            self.backend.remove_leftover(leftover)

    def resolve(self, prefix: str) -> str:
        """Return the id of the one run whose id begins with `prefix`, in any case.

        Raises:
            UnknownName: no run or several runs begin with it.
        """
        with storage_errors(self.url):
            return resolve(self.backend, prefix)

    def _marker(self, run_id: str) -> Marker:
        marker = read_marker(self.backend, layout.checked_run_id(run_id))
        if marker is None:
            raise unknown_run(self.backend, run_id)
        return marker

    def _failures(self) -> list[RunFailure | DamagedRun | None]:
        def read(run_id: str) -> RunFailure | DamagedRun | None:
            try:
                return self.failure(run_id)
            except DamagedRun as damage:
                return damage

        with storage_errors(self.url):
            # A process that dies between committing a run and removing its failure leaves both.
            failed = failed_ids(self.backend)
            if not failed:
                return []
            here = self.backend.names(layout.RUNS).intersection(failed)
            marked = self.backend.list_files(sorted(here), len(here) * 1000)
            committed = {i for i, files in marked.items() if layout.MARKER in files}
            return self.backend.map(read, [i for i in failed if i not in committed])
