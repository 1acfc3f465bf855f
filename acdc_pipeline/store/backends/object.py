"""A store in an object store: the files first, then a marker that only one writer can put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from acdc_pipeline.errors import DamagedRun, NewerRun, StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import (
    ABANDONED,
    CHECKPOINT,
    CLAIM,
    NO_RUN,
    PROBE,
    Backend,
    Leftover,
)
from acdc_pipeline.store.errors import no_conditional_put, storage_errors
from acdc_pipeline.store.marker import Marker
from acdc_pipeline.store.reader import is_intact, read_marker, why_unneeded

_T = TypeVar("_T")
_U = TypeVar("_U")

# A server may refuse one of two concurrent requests although neither has been served yet.
_MARKER_TRIES = 20

# An object store answers in tens of milliseconds, however small the request.
_CONCURRENT_REQUESTS = 32

# How S3 and compatible servers report that an object exists, or existed a moment ago. Clients turn
# only some of these answers into FileExistsError; the others keep the code in the error's cause.
_EXISTS_CODES = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict"))


@dataclass(frozen=True)
class ObjectBackend(Backend):
    """A prefix in an object store, or any file system of fsspec that is not local."""

    @property
    def bucket(self) -> str | None:
        return None if self.root.startswith("/") else self.root.partition("/")[0]

    def check_usable(self) -> None:
        """Do nothing: any prefix can be a store."""

    def check_writable(self) -> None:
        """Put, put again and delete an empty object; see `Backend.check_writable`."""
        self.check_bucket()
        path = self.path(layout.TMP, layout.new_probe_name())
        self._put_if_absent(path, b"")
        overwritten = self._put_if_absent(path, b"")
        self.fs.rm_file(path)
        if overwritten:
            raise no_conditional_put(self.url)

    def map(self, function: Callable[[_T], _U], items: Iterable[_T]) -> list[_U]:
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            return list(pool.map(function, items))

    def commit(self, run_id: str, files: Mapping[str, bytes]) -> Marker | None:
        """Commit a run; see `Backend.commit`.

        Files are put under `runs/<run_id>/<attempt>/`, where no reader looks, and become a run by
        the marker `runs/<run_id>/_COMMIT.json`, put only if absent. Writers that lose the race
        delete their own files. Files of a writer that died or lost the connection are found by
        `leftovers`.
        """
        if is_intact(self, run_id):
            return None
        self.check_bucket()
        attempt = layout.new_suffix()
        folder = self.path(layout.RUNS, run_id, attempt)
        try:
            for name, data in files.items():
                self.fs.pipe_file(f"{folder}/{name}", data)
        except BaseException:  # whatever happened, no file without a marker stays
            self._delete(folder, files)
            raise
        marker = Marker.of(run_id, files, attempt)
        try:
            committed = self._put_marker(marker)
        except (PermissionError, NewerRun):
            self._delete(folder, files)
            raise
        # After any other error the marker may exist although the answer was lost: the files that
        # it may name are not deleted.
        if not committed:
            self._delete(folder, files)
        return marker if committed else None

    def write(self, data: bytes, *parts: str) -> None:
        self.fs.pipe_file(self.path(*parts), data)

    def put_if_absent(self, data: bytes, *parts: str) -> bool:
        if self._put_if_absent(self.path(*parts), data):
            return True
        self.refresh()
        # where the answer to a first request was lost, the object is ours
        return self.read(*parts) == data

    def remove_failure(self, run_id: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(layout.FAILED, run_id, layout.FAILURE))

    def remove_checkpoint(self, run_id: str) -> None:
        self.refresh()
        path = layout.CHECKPOINTS, layout.checkpoint_name(run_id)
        if self.exists(*path):
            self.fs.rm_file(self.path(*path))

    def leftovers(self, now: float) -> Iterator[Leftover]:
        """Yield attempts no marker names, checkpoints, evaluations and probes, however young."""
        self.check_bucket()
        self.refresh()
        for where, paths, why, run_id in self._unneeded_objects():
            changed, size = self._last_change_and_size(paths)
            yield Leftover(where, why, run_id, max(0.0, now - changed), size)

    def remove_leftover(self, leftover: Leftover) -> None:
        """Delete it object by object: of a bulk request a client may hide which part failed."""
        self.refresh()
        for path in self.fs.find(self.path(leftover.path)):
            with suppress(FileNotFoundError):
                self.fs.rm_file(str(path))

    def _put_if_absent(self, path: str, data: bytes) -> bool:
        """Put `data` at `path` unless an object exists there. Returns whether it was put.

        False may also mean that our own object is there: where the answer to a first request was
        lost and the client repeated it. A caller that must know reads the object.
        """
        try:
            self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            response = getattr(error.__cause__, "response", None)
            code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
            if code in _EXISTS_CODES:
                return False
            raise
        return True

    def _put_marker(self, marker: Marker) -> bool:
        """Put `marker` unless an intact run exists. Returns whether ours is the one in place."""
        run_id, path = marker.run_id, (layout.RUNS, marker.run_id, layout.MARKER)
        for _ in range(_MARKER_TRIES):
            if self._put_if_absent(self.path(*path), marker.encode()):
                return True
            if self._committed_attempt(run_id) == marker.attempt:
                return True  # the answer to the first request was lost, and the client repeated it
            if is_intact(self, run_id):
                return False
            self.refresh()
            if self.exists(*path):
                # A damaged run counts as absent. Two writers that replace it at the same time may
                # both succeed, one after the other; a reader sees one intact run or none.
                with suppress(FileNotFoundError):
                    self.fs.rm_file(self.path(*path))
        raise StoreError(f"the commit marker was refused {_MARKER_TRIES} times", where=self.url)

    def _committed_attempt(self, run_id: str) -> str | None:
        """Return the attempt that the marker in place names; None where none can be read."""
        try:
            marker = read_marker(self, run_id)
        except NewerRun:
            raise
        except DamagedRun:
            return None
        return None if marker is None else marker.attempt

    def _delete(self, folder: str, names: Iterable[str]) -> None:
        """Delete our own files. Where that fails they stay for `leftovers` to find.

        No error is raised: a lost race is no failure, and an error that led here matters more.
        """
        with suppress(StoreError), storage_errors(self.url):
            for name in names:
                with suppress(FileNotFoundError):
                    self.fs.rm_file(f"{folder}/{name}")

    def _unneeded_objects(self) -> Iterator[tuple[str, list[str], str, str | None]]:
        """Yield the path of each leftover, its objects, why no run needs them, and their run."""
        attempts: dict[str, dict[str, list[str]]] = {}
        committed: set[str] = set()
        for path in self.find(layout.RUNS):
            run_id, _, inside = path.partition("/")
            attempt, _, name = inside.partition("/")
            if inside == layout.MARKER:
                committed.add(run_id)
            elif layout.is_run_id(run_id) and layout.is_attempt(attempt) and name:
                of_run = attempts.setdefault(run_id, {})
                of_run.setdefault(attempt, []).append(f"{layout.RUNS}/{path}")
        for run_id, found in attempts.items():
            for attempt, why in self._unneeded_attempts(run_id, list(found), run_id in committed):
                yield f"{layout.RUNS}/{run_id}/{attempt}", found[attempt], why, run_id
        for name in self.find(layout.CHECKPOINTS):
            run_id, path = name.removesuffix(".parquet"), f"{layout.CHECKPOINTS}/{name}"
            if why := why_unneeded(self, run_id, CHECKPOINT):
                yield path, [path], why, run_id
        yield from self._unneeded_evaluations()
        for name in self.find(layout.CLAIMS):
            if claim := layout.claim_of(name):
                path = f"{layout.CLAIMS}/{name}"
                yield path, [path], CLAIM, claim[0]
        for name in self.find(layout.TMP):
            if layout.is_probe(name):
                path = f"{layout.TMP}/{name}"
                yield path, [path], PROBE, None

    def _unneeded_evaluations(self) -> Iterator[tuple[str, list[str], str, str]]:
        """Yield evaluations of absent runs, as `_unneeded_objects` does."""
        evaluations: dict[str, list[str]] = {}
        for name in self.find(layout.EVALUATIONS):
            run_id, _, file = name.partition("/")
            if layout.evaluation_id_of(file):
                evaluations.setdefault(run_id, []).append(f"{layout.EVALUATIONS}/{name}")
        for run_id, paths in evaluations.items():
            if why_unneeded(self, run_id, NO_RUN) == NO_RUN:
                yield from ((path, [path], NO_RUN, run_id) for path in paths)

    def _unneeded_attempts(
        self, run_id: str, attempts: list[str], committed: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield the attempts at a run that its marker does not name, each with the reason."""
        if not committed:
            yield from ((attempt, ABANDONED) for attempt in attempts)
            return
        if len(attempts) < 2:
            return  # the one that is committed, or the rest of it
        try:
            marker = read_marker(self, run_id)
        except DamagedRun:
            return  # which attempt it named is unknown
        why = why_unneeded(self, run_id)
        if marker is not None and why is not None:
            yield from ((attempt, why) for attempt in attempts if attempt != marker.attempt)

    def _last_change_and_size(self, paths: list[str]) -> tuple[float, int]:
        """Return when the last of `paths` was written, in Unix seconds, and their bytes."""
        changed, size = 0.0, 0
        for path in map(self.path, paths):
            size += int(self.fs.info(path)["size"] or 0)
            try:
                changed = max(changed, self.fs.modified(path).timestamp())
            except NotImplementedError as error:
                raise StoreError(
                    "this kind of store does not say when an object was written",
                    where=self.url,
                    fix="delete by hand what docs/object-stores.md lists",
                ) from error
        return changed, size
