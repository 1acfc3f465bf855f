"""The decision log of a run that is not finished: what a later attempt goes on from.

One Parquet file a run, `checkpoints/<run_id>.parquet`, replaced as the search goes on and removed
when the run is committed. It is a convenience and never data: one that cannot be read, or that
was made under other conditions, counts as absent.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.graph import Decision
from acdc_pipeline.specs import canonical_json
from acdc_pipeline.store import layout, tables
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.parquet import read_parquet

_CONDITIONS = b"acdc.conditions"


def save(
    place: Place, run_id: str, decisions: Sequence[Decision], conditions: Mapping[str, str]
) -> None:
    """Keeps `decisions`, made under `conditions`, in place of what was kept for the run before."""
    table = tables.steps_table(decisions).replace_schema_metadata(
        {_CONDITIONS: canonical_json(dict(conditions)).encode()}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    if place.folder is None:
        place.fs.pipe_file(_path(place, run_id), data)
        return
    folder = place.folder / layout.CHECKPOINTS
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{run_id}.{secrets.token_hex(8)}"
    try:
        aside.write_bytes(data)
        aside.replace(folder / f"{run_id}.parquet")
    finally:
        aside.unlink(missing_ok=True)


def load(place: Place, run_id: str, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
    """What was kept for the run under the same `conditions`; empty where there is nothing."""
    place.fs.invalidate_cache()
    try:
        table = read_parquet(cast("bytes", place.fs.cat_file(_path(place, run_id))))
        made_under = (table.schema.metadata or {}).get(_CONDITIONS, b"").decode()
        if made_under != canonical_json(dict(conditions)):
            return ()
        return tables.decisions_from(table.replace_schema_metadata(None))
    except (FileNotFoundError, pa.ArrowException, AcdcError, UnicodeDecodeError):
        return ()


def drop(place: Place, run_id: str) -> None:
    """Removes what was kept for the run, if anything was."""
    if place.folder is not None:
        for path in (place.folder / layout.CHECKPOINTS).glob(f"{run_id}.*"):
            path.unlink(missing_ok=True)
        return
    place.fs.invalidate_cache()
    if place.fs.exists(_path(place, run_id)):
        place.fs.rm_file(_path(place, run_id))


def _path(place: Place, run_id: str) -> str:
    return place.path(layout.CHECKPOINTS, f"{run_id}.parquet")
