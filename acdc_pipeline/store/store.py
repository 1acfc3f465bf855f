"""The results store: immutable runs under `<store>/runs/<run_id>/`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError, UnknownName
from acdc_pipeline.graph import Decision
from acdc_pipeline.store import checkpoint, layout
from acdc_pipeline.store.commit_local import check_local, commit_local
from acdc_pipeline.store.commit_object import check_object, commit_object
from acdc_pipeline.store.decode import decode, decode_summary
from acdc_pipeline.store.encode import encode
from acdc_pipeline.store.evaluation import StoredEvaluation
from acdc_pipeline.store.evaluations import (
    Evaluated,
    read_evaluation,
    read_evaluations,
    write_evaluation,
)
from acdc_pipeline.store.failed import failed_ids, read_failure, remove_failure, write_failure
from acdc_pipeline.store.failure import RunFailure, decode_failure, encode_failure
from acdc_pipeline.store.faults import commit_faults, damaged_run, store_faults
from acdc_pipeline.store.leftover import Leftover
from acdc_pipeline.store.leftovers import leftovers, remove
from acdc_pipeline.store.location import Place, default_location, open_place
from acdc_pipeline.store.read import (
    checked_marker,
    for_each,
    inventory,
    is_whole,
    read_file,
    read_files,
    read_marker,
    unfinished,
)
from acdc_pipeline.store.record import RunRecord, RunSummary
from acdc_pipeline.store.state import RunState, states

Mode = Literal["read", "write"]

_LISTED = "'acdc runs list' shows the runs of a store"


def open_store(
    location: str | Path | None = None,
    mode: Mode = "read",
    options: Mapping[str, Any] | None = None,
) -> Store:
    """The store at `location`; one that does not exist yet holds no runs.

    Args:
        location: a folder or any URL fsspec knows; None means `ACDC_STORE`, else `results/runs`
            of the project folder, else `./acdc-results`.
        mode: `write` makes the store and tries it out, so that a run does not fail at its end;
            `read` touches nothing.
        options: what fsspec passes to the file system (endpoint, credentials, …).

    Raises:
        StoreError: it is a file, of an unknown kind, or (`write`) cannot be written.
    """
    if location is None:
        location = default_location(os.environ, Path.cwd())
    place = open_place(location, options)
    if place.folder is not None and place.folder.exists() and not place.folder.is_dir():
        raise StoreError(
            "is a file, not a folder", where=place.url, fix="choose another store with --store"
        )
    store = Store(place)
    if mode == "write":
        store.check_writable()
    return store


@dataclass(frozen=True)
class Store:
    """Immutable runs, each whole or absent. Safe to use from many processes at once."""

    place: Place

    def __repr__(self) -> str:
        return f"<store {self.url}>"

    @property
    def url(self) -> str:
        """The store as people know it."""
        return self.place.url

    @property
    def exists(self) -> bool:
        """Whether its folder is there; of an object store nothing is known before it is read."""
        return self.place.folder is None or self.place.folder.exists()

    def path(self, run_id: str) -> str:
        """Where a run is, as people know it. Raises StoreError for what is not a run id."""
        return "/".join((self.url, layout.RUNS, layout.checked_run_id(run_id)))

    def check_writable(self) -> None:
        """Raises StoreError if a commit could not work here."""
        with store_faults(self.url):
            if self.place.folder is not None:
                check_local(self.place.folder)
            else:
                check_object(self.place)

    def commit(self, record: RunRecord) -> bool:
        """Stores a run, whole or not at all. True if we did, False if it was there already.

        A damaged run counts as absent and is replaced.

        Raises:
            NewerRun: a newer version committed it; it is left as it is.
            StoreFailed: the store gave out (no space left, no answer, no permission any more);
                nothing is visible then, and committing again is safe.
        """
        run_id = layout.checked_run_id(record.spec.run_id())
        files = encode(record)
        with commit_faults(self.url):
            if self.place.folder is not None:
                committed = commit_local(self.place, self.place.folder, run_id, files)
            else:
                committed = commit_object(self.place, run_id, files)
            remove_failure(self.place, run_id)
            checkpoint.drop(self.place, run_id)
        return committed

    def record_failure(self, failure: RunFailure) -> None:
        """Keeps why a run failed, in place of what was kept before. Raises StoreFailed."""
        run_id = layout.checked_run_id(failure.run_id)
        with commit_faults(self.url):
            write_failure(self.place, run_id, encode_failure(failure))

    def failure(self, run_id: str) -> RunFailure | None:
        """Why a run failed; None where nothing is kept.

        Raises:
            DamagedRun: what is kept cannot be read.
        """
        with store_faults(self.url):
            data = read_failure(self.place, layout.checked_run_id(run_id))
        return None if data is None else decode_failure(run_id, data)

    def clear_failure(self, run_id: str) -> None:
        """Forgets why a run failed; its next commit does so too. Raises StoreFailed."""
        with commit_faults(self.url):
            remove_failure(self.place, layout.checked_run_id(run_id))

    def failures(self) -> list[RunFailure]:
        """Every run that failed and was not committed since, in the order of ids."""
        return [item for item in self._failures() if isinstance(item, RunFailure)]

    def damaged_failures(self) -> list[DamagedRun]:
        """What is wrong with every `FAILED.json` that `failures` had to leave out."""
        return [item for item in self._failures() if isinstance(item, DamagedRun)]

    def _failures(self) -> list[RunFailure | DamagedRun]:
        def one(run_id: str) -> RunFailure | DamagedRun | None:
            try:
                return self.failure(run_id)
            except DamagedRun as damage:
                return damage

        with store_faults(self.url):
            # A process that dies between committing a run and forgetting its failure leaves both.
            committed = inventory(self.place)
            waiting = [run_id for run_id in failed_ids(self.place) if run_id not in committed]
            found = for_each(self.place, one, waiting)
        return [item for item in found if item is not None]

    def save_checkpoint(
        self, run_id: str, decisions: Sequence[Decision], conditions: Mapping[str, str]
    ) -> None:
        """Keeps the first decisions of a run that goes on. `conditions` say what made them.

        Raises StoreFailed where the store cannot be written.
        """
        with commit_faults(self.url):
            checkpoint.save(self.place, layout.checked_run_id(run_id), decisions, conditions)

    def checkpoint(self, run_id: str, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
        """What `save_checkpoint` kept under the same conditions; empty where there is nothing."""
        with store_faults(self.url):
            return checkpoint.load(self.place, layout.checked_run_id(run_id), conditions)

    def drop_checkpoint(self, run_id: str) -> None:
        """Removes the checkpoint of a run, if there is one. Raises StoreFailed."""
        with commit_faults(self.url):
            checkpoint.drop(self.place, layout.checked_run_id(run_id))

    def add_evaluation(self, evaluation: StoredEvaluation) -> None:
        """Keeps what was measured of a run, beside it; see `evaluations.write_evaluation`."""
        write_evaluation(self.place, evaluation)

    def evaluation(self, run_id: str, evaluation_id: str) -> StoredEvaluation | None:
        """One evaluation of a run; None where there is none. Raises DamagedRun."""
        return read_evaluation(self.place, run_id, evaluation_id)

    def evaluations(self, run_ids: Iterable[str] | None = None) -> Evaluated:
        """The evaluations of all runs, or of `run_ids`; see `evaluations.read_evaluations`."""
        return read_evaluations(self.place, run_ids)

    def has(self, run_id: str) -> bool:
        """Whether a run is there, every byte as it was committed. A damaged run is not.

        Raises:
            NewerRun: a newer version committed it.
        """
        with store_faults(self.url):
            return is_whole(self.place, layout.checked_run_id(run_id))

    def whole(self, run_ids: Iterable[str]) -> frozenset[str]:
        """Those of `run_ids` that `has` is true for. A newer version's runs are not among them."""

        def one(run_id: str) -> bool:
            try:
                return is_whole(self.place, run_id)
            except NewerRun:
                return False

        with store_faults(self.url):
            committed = inventory(self.place)
            there = [run_id for run_id in run_ids if run_id in committed]
            verdicts = for_each(self.place, one, there)
        return frozenset(run_id for run_id, good in zip(there, verdicts, strict=True) if good)

    def get(self, run_id: str) -> RunRecord:
        """The record of a run, every byte verified.

        Raises:
            UnknownName: no such run.
            DamagedRun: it is there, but is not what was committed.
        """
        with store_faults(self.url):
            files = read_files(self.place, layout.checked_run_id(run_id))
            if files is None:
                raise self._unknown(run_id)
        return decode(run_id, files)

    def read_file(self, run_id: str, name: str) -> bytes:
        """One file of a run (`edges.parquet`), verified. Raises UnknownName or DamagedRun."""
        with store_faults(self.url):
            marker = read_marker(self.place, layout.checked_run_id(run_id))
            if marker is None:
                raise self._unknown(run_id)
            if name not in marker.files:
                raise UnknownName.among(f"file of run {run_id}", name, marker.files)
            return read_file(self.place, marker, name)

    def read_present(self, run_id: str, names: Iterable[str]) -> dict[str, bytes]:
        """Those of the files `names` that a run has, verified. Raises UnknownName or DamagedRun."""
        with store_faults(self.url):
            marker = read_marker(self.place, layout.checked_run_id(run_id))
            if marker is None:
                raise self._unknown(run_id)
            return {
                name: read_file(self.place, marker, name) for name in names if name in marker.files
            }

    def run_ids(self) -> list[str]:
        """Every run with a commit marker, in the order of their ids."""
        with store_faults(self.url):
            return list(inventory(self.place))

    def states(self) -> dict[str, RunState]:
        """What a listing tells of every run with a commit marker, in the order of their ids."""
        with store_faults(self.url):
            return states(self.place)

    def summaries(self, run_ids: Iterable[str] | None = None) -> list[RunSummary]:
        """Runs in the order of ids, except damaged ones: all, or those of `run_ids` that are there.

        Reads `run.json` of each and looks at names and sizes of the rest; `get` and `damaged`
        read and verify everything.
        """
        with store_faults(self.url):
            sizes = inventory(self.place)
            if run_ids is not None:
                asked = set(run_ids)
                sizes = {run_id: size for run_id, size in sizes.items() if run_id in asked}

            def summary(run_id: str) -> RunSummary | DamagedRun:
                try:
                    marker = checked_marker(self.place, run_id, sizes[run_id])
                    return decode_summary(run_id, read_file(self.place, marker, layout.RUN))
                except DamagedRun as damage:
                    return damage

            found = for_each(self.place, summary, sizes)
        return [item for item in found if isinstance(item, RunSummary)]

    def damaged(self) -> list[DamagedRun]:
        """What is wrong with every run that was committed and is not what was committed."""
        with store_faults(self.url):

            def damage(run_id: str) -> DamagedRun | None:
                try:
                    files = read_files(self.place, run_id)
                    if files is None:
                        return damaged_run(run_id, f"{layout.MARKER} vanished")
                    decode(run_id, files)
                except DamagedRun as error:
                    return error
                return None

            found = for_each(self.place, damage, inventory(self.place))
        return [item for item in found if item is not None]

    def leftovers(self, *, older_than: float, now: float) -> list[Leftover]:
        """What killed, beaten or cut-off writers left, and no run needs; see `store.leftovers`."""
        with store_faults(self.url):
            return leftovers(self.place, older_than=older_than, now=now)

    def remove(self, leftover: Leftover) -> None:
        """Removes one of `leftovers`. Raises StoreError where that fails."""
        with store_faults(self.url):
            remove(self.place, leftover)

    def resolve(self, prefix: str) -> str:
        """The one run whose id begins with `prefix`, in small or capital letters.

        Raises:
            UnknownName: no run begins so, or several do.
        """
        prefix = prefix.strip().lower()
        if not prefix:
            raise UnknownName("the run id is empty", where=self.url, fix=_LISTED)
        matches = [run_id for run_id in self.run_ids() if run_id.startswith(prefix)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UnknownName(
                f"'{prefix}' begins {len(matches)} runs",
                where=self.url,
                allowed=", ".join(matches[:8]) + (", …" if len(matches) > 8 else ""),
                fix="give more digits",
            )
        raise self._unknown(prefix)

    def _unknown(self, run_id: str) -> UnknownName:
        with store_faults(self.url):
            begun = unfinished(self.place, run_id)
        if begun:
            return UnknownName(
                f"run '{begun[0]}' has no commit marker: it was never finished",
                where=self.url,
                fix="run it again",
            )
        with store_faults(self.url):
            failed = [name for name in failed_ids(self.place) if name.startswith(run_id)]
        if failed:
            return UnknownName(
                f"run '{failed[0]}' failed",
                where=self.url,
                fix="'acdc runs list --failed' says why",
            )
        return UnknownName(f"no run '{run_id}'", where=self.url, fix=_LISTED)
