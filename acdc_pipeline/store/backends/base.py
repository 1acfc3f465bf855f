"""The interface of the backends, and what fsspec does alike for both.

Paths inside a store are given in parts: `backend.read("runs", run_id, "run.json")`. What a file
system raises is passed on; `Store` turns it into errors of this package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec

from acdc_pipeline.store import layout
from acdc_pipeline.store.errors import missing_bucket
from acdc_pipeline.store.marker import Marker

_T = TypeVar("_T")
_U = TypeVar("_U")

FileInfo = Mapping[str, Any]
"""Information of a file system about a file: at least its `size`."""

# Listing a run on its own takes a request, listing all of them one for every 1000 files; but the
# former are sent at the same time.
_LISTED_AT_ONCE = 4

# Values of `why` in `acdc runs clean --json`: they do not change.
COMMITTED = "the run is committed without it"
ABANDONED = "an attempt that was never committed"
CHECKPOINT = "decisions of a run that was never finished"
NO_RUN = "an evaluation of a run that is not in the store"
HALF_WRITTEN = "an evaluation that was never written to its end"
PROBE = "a trial of whether the store can be written"
REPLACED = "a damaged run that was replaced"
CLAIM = "a claim of a driver that is gone"
HALF_INDEXED = "a part of the index that was never written to its end"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that no run needs and that can be removed.

    Args:
        path: path inside the store (`tmp/3f2a….9c1e…`).
        why: one of the constants above.
        age: seconds since its last change.
    """

    path: str
    why: str
    run_id: str | None
    age: float
    size: int


@dataclass(frozen=True)
class Backend(ABC):
    """A folder or a prefix in an object store; it need not exist.

    Args:
        url: address of the store as users write it.
        root: path of the store inside `fs`.
    """

    url: str
    fs: fsspec.AbstractFileSystem
    root: str

    @property
    def folder(self) -> Path | None:
        """The local folder; None for object stores."""
        return None

    @property
    def bucket(self) -> str | None:
        """The bucket; None for folders and file systems without buckets."""
        return None

    def path(self, *parts: str) -> str:
        """Return the path of a file inside the store, for `fs`."""
        return "/".join((self.root.rstrip("/"), *parts))

    def refresh(self) -> None:
        """Discard cached listings, so that writes of other processes are seen."""
        self.fs.invalidate_cache()

    def read(self, *parts: str) -> bytes | None:
        """Return the content of a file, None if there is no such file."""
        try:
            return cast("bytes", self.fs.cat_file(self.path(*parts)))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def exists(self, *parts: str) -> bool:
        """Return whether there is a file or folder of that path."""
        return bool(self.fs.exists(self.path(*parts)))

    def names(self, *parts: str) -> set[str]:
        """Return the names directly inside a folder; none where there is no folder."""
        try:
            entries = self.fs.ls(self.path(*parts), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        return {str(entry).rstrip("/").rpartition("/")[2] for entry in entries}

    def find(self, *parts: str, **options: Any) -> dict[str, FileInfo]:
        """Return all files below a folder, by path relative to that folder."""
        root = self.path(*parts)
        try:
            found: Mapping[str, FileInfo] = dict(self.fs.find(root, detail=True, **options))
        except (FileNotFoundError, NotADirectoryError):
            return {}  # some clients raise for a prefix without objects, others for the bucket only
        return {str(path)[len(root) :].lstrip("/"): info for path, info in found.items()}

    def list_runs(self) -> dict[str, dict[str, FileInfo]]:
        """Return the files of every folder of a run, by run id and path inside the folder.

        Raises OSError for those that cannot be listed.
        """
        found: dict[str, dict[str, FileInfo]] = {}
        for path, info in self.find(layout.RUNS).items():
            run_id, _, inside = path.partition("/")
            if inside and layout.is_run_id(run_id):
                found.setdefault(run_id, {})[inside] = info
        return found

    def list_files(self, run_ids: Collection[str], of: int) -> dict[str, dict[str, FileInfo]]:
        """Return the files of some folders of runs, as `list_runs`.

        Args:
            of: number of runs in the store, roughly.
        """
        if len(run_ids) * _LISTED_AT_ONCE > of:
            every = self.list_runs()
            return {run_id: every.get(run_id, {}) for run_id in run_ids}
        found = self.map(lambda run_id: self.find(layout.RUNS, run_id), run_ids)
        return dict(zip(run_ids, found, strict=True))

    def committed_ids(self, prefix: str = "") -> list[str]:
        """Return the sorted ids of the committed runs that begin with `prefix`."""
        if not prefix:
            return sorted(i for i, files in self.list_runs().items() if layout.MARKER in files)
        found = sorted(i for i in self.names(layout.RUNS) if i.startswith(prefix))
        found = [run_id for run_id in found if layout.is_run_id(run_id)]
        marked = self.map(lambda i: self.exists(layout.RUNS, i, layout.MARKER), found)
        return [run_id for run_id, there in zip(found, marked, strict=True) if there]

    def files_of(self, marker: Marker) -> Mapping[str, FileInfo]:
        """Return the files of a run that was just committed, as a listing would."""
        sizes = {marker.path_of(name): entry.size for name, entry in marker.files.items()}
        sizes[layout.MARKER] = len(marker.encode())
        return {path: {"size": size} for path, size in sizes.items()}

    def may_exist(self) -> bool:
        """Return whether the store may exist, without contacting a server."""
        return True

    @abstractmethod
    def check_usable(self) -> None:
        """Raise StoreError if the location cannot be a store."""

    @abstractmethod
    def check_writable(self) -> None:
        """Perform once what a commit does, without a run. Raises OSError or StoreError."""

    def check_bucket(self) -> None:
        """Raise StoreError if the store is in a bucket that does not exist.

        A bucket that exists but whose properties may not be read passes: whether its content can
        be read and written shows when that is tried.
        """
        if self.bucket is None:
            return
        try:
            self.fs.info(self.bucket)
        except FileNotFoundError:
            raise missing_bucket(self.url, self.bucket) from None
        except PermissionError:
            return

    def map(self, function: Callable[[_T], _U], items: Iterable[_T]) -> list[_U]:
        """Return `function` of every item, in order; concurrently where requests are slow."""
        return [function(item) for item in items]

    @abstractmethod
    def commit(self, run_id: str, files: Mapping[str, bytes]) -> Marker | None:
        """Commit `files` as the run `run_id`: all of it appears at once, or nothing.

        Of concurrent writers exactly one succeeds. A damaged run is replaced.

        Returns:
            The marker if this call committed the run, None if it was committed already.
        """

    @abstractmethod
    def write(self, data: bytes, *parts: str) -> None:
        """Create or replace a file atomically: readers see the old content or the new."""

    @abstractmethod
    def put_if_absent(self, data: bytes, *parts: str) -> bool:
        """Create a file unless there is one. Of several writers, one succeeds.

        Returns:
            Whether `data` is the content of the file by this call.
        """

    def remove(self, *parts: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(*parts))

    def write_cache(self, data: bytes, *parts: str) -> None:
        """Like `write`, for a file that may be lost where the machine fails."""
        self.write(data, *parts)

    def write_failure(self, run_id: str, data: bytes) -> None:
        """Create or replace the `FAILED.json` of a run atomically."""
        self.write(data, layout.FAILED, run_id, layout.FAILURE)

    @abstractmethod
    def remove_failure(self, run_id: str) -> None:
        """Remove the `FAILED.json` of a run, if there is one."""

    @abstractmethod
    def remove_checkpoint(self, run_id: str) -> None:
        """Remove the checkpoint of a run, if there is one."""

    @abstractmethod
    def leftovers(self, now: float) -> Iterator[Leftover]:
        """Yield everything that no run needs, however young.

        Args:
            now: seconds since the epoch.

        Raises:
            StoreError: the bucket does not exist, or the store does not report when its objects
                were written.
        """

    @abstractmethod
    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove a leftover unless it is in use by now; one that is gone is no error."""
