"""The location of a store: the default, and the backend that a path or URL names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol

from acdc_pipeline.errors import StoreError
from acdc_pipeline.specs import find_project
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.backends.local import LocalBackend
from acdc_pipeline.store.backends.object import ObjectBackend

ENVIRONMENT_VARIABLE = "ACDC_STORE"

_LOCAL = (None, "file", "local")

# Supported by fsspec, but without shared writes.
_READ_ONLY = frozenset(("http", "https", "zip", "tar", "libarchive", "data", "git", "github"))

# Options for small files. By default s3fs requests the size of each file before it reads it, and
# hides the reason of a server that refuses this request.
_OPTIONS: dict[str, dict[str, Any]] = {key: {"max_concurrency": 1} for key in ("s3", "s3a")}

_KINDS = "a folder, or an object store: s3://bucket/path, gs://bucket/path, …"


def default_location(environment: Mapping[str, str], working_directory: Path) -> str:
    """Return the location of the store where none is given.

    `ACDC_STORE`; else `results/runs` of the project folder at or above `working_directory`; else
    `acdc-results` inside `working_directory`. An `acdc-results` with runs, from before the folder
    became a project, is used until `results/runs` has runs.
    """
    if environment.get(ENVIRONMENT_VARIABLE):
        return environment[ENVIRONMENT_VARIABLE]
    local = working_directory / "acdc-results"
    project = find_project(working_directory)
    if project is None:
        return str(local)
    of_project = project / "results" / "runs"
    earlier = [store for store in (local, project / "acdc-results") if _has_runs(store)]
    return str(earlier[0] if earlier and not _has_runs(of_project) else of_project)


def _has_runs(store: Path) -> bool:
    return next((store / layout.RUNS).glob("*"), None) is not None


def open_backend(
    location: str | Path, options: Mapping[str, Any] | None = None, *, holds: str = "runs"
) -> Backend:
    """Return the backend that `location` names. Nothing is created and no server is contacted.

    Args:
        holds: what is written there, for messages.

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
        return LocalBackend(str(folder), fs, folder.as_posix())
    if protocol in _READ_ONLY:
        raise StoreError(f"{holds} cannot be written to {protocol}://", where=text, allowed=_KINDS)
    if not _is_known(str(protocol).partition("::")[0]):
        raise StoreError(f"'{protocol}' is not a kind of store", where=text, allowed=_KINDS)
    try:
        chosen = {**_OPTIONS.get(str(protocol), {}), **(options or {})}
        fs, root = fsspec.core.url_to_fs(text, **chosen)
    except ImportError as error:
        raise StoreError(
            f"'{protocol}' needs a library that is not installed: {error}",
            where=text,
            fix="pip install 'acdc-pipeline[s3]'"
            if protocol in ("s3", "s3a")
            else f"install the fsspec file system for {protocol}://",
        ) from error
    except Exception as error:  # file systems share no error class for invalid URLs
        raise StoreError(f"cannot be opened: {error}", where=text, allowed=_KINDS) from error
    if not root and protocol != "memory":
        raise StoreError("names no bucket", where=text, allowed=_KINDS)
    return ObjectBackend(text.rstrip("/"), fs, root)


def _is_known(protocol: str) -> bool:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        return True
    except ValueError:
        return False
    return True
