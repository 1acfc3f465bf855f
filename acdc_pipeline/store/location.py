"""Where results are: the default rules, and a URL opened as a place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol

from acdc_pipeline.errors import StoreError
from acdc_pipeline.specs import find_project
from acdc_pipeline.store import layout

ENVIRONMENT_VARIABLE = "ACDC_STORE"

_LOCAL = (None, "file", "local")

# fsspec reads them, but nothing can be put there that others find.
_READ_ONLY = frozenset(("http", "https", "zip", "tar", "libarchive", "data", "git", "github"))

# What clients do better for files as small as ours. s3fs would ask for the size of each before it
# reads it, and of a server that refuses that question nobody learns why.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"max_concurrency": 1},
    "s3a": {"max_concurrency": 1},
}

_KINDS = "a folder, or an object store: s3://bucket/path, gs://bucket/path, …"


def default_location(environment: Mapping[str, str], working_directory: Path) -> str:
    """Where results are if nobody says so.

    `ACDC_STORE`; else `results/runs` of the project folder at or above `working_directory`; else
    `acdc-results` inside `working_directory`. An `acdc-results` with runs, from the time before
    the folder became a project, goes on being used until `results/runs` has runs of its own.
    """
    if environment.get(ENVIRONMENT_VARIABLE):
        return environment[ENVIRONMENT_VARIABLE]
    beside = working_directory / "acdc-results"
    project = find_project(working_directory)
    if project is None:
        return str(beside)
    kept = project / "results" / "runs"
    earlier = [place for place in (beside, project / "acdc-results") if _holds_runs(place)]
    return str(earlier[0] if earlier and not _holds_runs(kept) else kept)


def _holds_runs(store: Path) -> bool:
    return next((store / layout.RUNS).glob("*"), None) is not None


@dataclass(frozen=True)
class Place:
    """A folder on this machine or a prefix in an object store; it need not exist.

    Args:
        url: as people know it.
        fs: the file system that reads it.
        root: path of the store inside `fs`.
        folder: the local folder, None for anything that is not local.
    """

    url: str
    fs: fsspec.AbstractFileSystem
    root: str
    folder: Path | None

    def path(self, *parts: str) -> str:
        """The path of something inside the store, for `fs`."""
        return "/".join((self.root.rstrip("/"), *parts))

    @property
    def bucket(self) -> str | None:
        """The bucket of an object store; None where there are no buckets."""
        if self.folder is not None or self.root.startswith("/"):
            return None
        return self.root.partition("/")[0]


def open_place(location: str | Path, options: Mapping[str, Any] | None = None) -> Place:
    """The place that `location` names. Nothing is created and nothing outside is contacted.

    Args:
        location: a path, or any URL fsspec knows.
        options: what fsspec passes to the file system (endpoint, credentials, …).

    Raises:
        StoreError: no such kind of store, or its library is not installed.
    """
    text = str(location)
    if not text.strip():
        raise StoreError("the store has no name", allowed=_KINDS)
    protocol, rest = split_protocol(text)
    if protocol in _LOCAL:
        folder = Path(os.path.abspath(Path(rest).expanduser()))  # noqa: PTH100 keeps symlinks
        fs = fsspec.filesystem("file", use_listings_cache=False)
        return Place(str(folder), fs, folder.as_posix(), folder)
    if protocol in _READ_ONLY:
        raise StoreError(f"runs cannot be written to {protocol}://", where=text, allowed=_KINDS)
    if not _is_known(str(protocol).partition("::")[0]):
        raise StoreError(f"'{protocol}' is not a kind of store", where=text, allowed=_KINDS)
    try:
        chosen = {**_OPTIONS.get(str(protocol), {}), **(options or {})}
        fs, root = fsspec.core.url_to_fs(text, **chosen)
    except ImportError as error:
        raise StoreError(
            f"'{protocol}' needs a library that is not installed: {error}",
            where=text,
            fix=_install(protocol),
        ) from error
    except Exception as error:  # each file system has errors of its own for a URL it cannot read
        raise StoreError(f"cannot be opened: {error}", where=text, allowed=_KINDS) from error
    if not root and protocol != "memory":
        raise StoreError("names no bucket", where=text, allowed=_KINDS)
    return Place(text.rstrip("/"), fs, root, None)


def _is_known(protocol: str) -> bool:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        return True
    except ValueError:
        return False
    return True


def _install(protocol: str) -> str:
    return (
        "pip install 'acdc-pipeline[s3]'"
        if protocol in ("s3", "s3a")
        else (f"install the fsspec file system for {protocol}://")
    )
