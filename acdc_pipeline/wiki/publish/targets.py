"""Places where a site is published: a folder, or a prefix in an object store."""

from __future__ import annotations

import mimetypes
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.errors import storage_errors
from acdc_pipeline.store.location import open_backend
from acdc_pipeline.wiki.output import remove_files

_TYPES = {".js": "text/javascript", ".parquet": "application/vnd.apache.parquet"}
_TEXT = ("text/", "application/json")


class Target(ABC):
    """A place with files, by path below its root.

    Attributes:
        where: its name for messages.
        is_atomic: whether an interruption leaves the target as it was.
    """

    where: str
    is_atomic = False

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of every file that is there."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if there is none."""

    @abstractmethod
    def write(self, files: Mapping[str, bytes]) -> None:
        """Create or replace files."""

    @abstractmethod
    def remove(self, paths: Iterable[str]) -> None:
        """Remove files that are there."""

    @contextmanager
    def writing(self, message: str) -> Iterator[None]:
        """Return what all writing happens in; `message` describes it where there is a history."""
        del message
        yield


class StorageTarget(Target):
    """A folder, or any object store that a store of runs may be in: `s3://bucket/path`."""

    def __init__(self, location: str) -> None:
        """Raises StoreError for no such kind of place, InvalidInput for a file."""
        self.backend: Backend = open_backend(location, holds="a wiki")
        self.where = self.backend.url
        folder = self.backend.folder
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InvalidInput("is a file", where=self.where, fix="name a new or an empty folder")

    def sizes(self) -> Mapping[str, int]:
        with storage_errors(self.where):
            self.backend.refresh()
            self.backend.check_bucket()
            return {path: int(info["size"] or 0) for path, info in self.backend.find().items()}

    def read(self, path: str) -> bytes | None:
        with storage_errors(self.where):
            return self.backend.read(*path.split("/"))

    def write(self, files: Mapping[str, bytes]) -> None:
        with storage_errors(self.where):
            self.backend.map(lambda item: self._write(*item), files.items())

    def remove(self, paths: Iterable[str]) -> None:
        with storage_errors(self.where):
            if self.backend.folder is not None:
                remove_files(self.backend.folder, set(paths))
            else:
                self.backend.map(lambda path: self.backend.remove(*path.split("/")), paths)

    def _write(self, path: str, content: bytes) -> None:
        if self.where.startswith(("s3://", "s3a://")):
            # browsers save objects without a type of their own instead of showing them
            self.backend.fs.pipe_file(
                self.backend.path(path), content, ContentType=content_type(path)
            )
        else:
            self.backend.write_cache(content, *path.split("/"))


def content_type(path: str) -> str:
    """Return the media type of a file of a site."""
    suffix = f".{path.rpartition('.')[2]}"
    found: Any = _TYPES.get(suffix) or mimetypes.guess_type(path, strict=True)[0]
    found = found or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith(_TEXT) else found
