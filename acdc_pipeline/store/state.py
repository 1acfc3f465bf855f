"""What a listing tells of runs without reading them: enough to see whether one is as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from acdc_pipeline.store import layout
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.read import inventory_of, listing

_TIMES = ("mtime", "LastModified", "updated", "last_modified")
"""What file systems call the time at which a file was written."""

_TAGS = ("ETag", "etag")


@dataclass(frozen=True)
class RunState:
    """One run in a listing.

    Args:
        files: name, size and time of each file, with what the store calls its content, as text:
            another text means that a file was written since.
        committed: when the commit marker was written, in seconds since 1970; None where the file
            system does not say.
    """

    files: str
    committed: float | None


def states(place: Place) -> dict[str, RunState]:
    """Every run that has a commit marker, in the order of ids.

    Raises:
        StoreError: the bucket does not exist.
    """
    found = inventory_of(place, listing(place))
    return {run_id: _state(files) for run_id, files in found.items()}


def _state(files: Mapping[str, Mapping[str, Any]]) -> RunState:
    lines = [
        f"{name} {info.get('size')} {_time(info)!r} {_first(info, _TAGS)}"
        for name, info in sorted(files.items())
    ]
    return RunState("\n".join(lines), _time(files[layout.MARKER]))


def _time(info: Mapping[str, Any]) -> float | None:
    value = _first(info, _TIMES)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None:
        return None
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _first(info: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((info[name] for name in names if info.get(name) is not None), None)
