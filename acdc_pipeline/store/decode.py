"""The bytes of a run's files as a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.store import layout, schemas, tables
from acdc_pipeline.store.faults import damaged_run
from acdc_pipeline.store.parquet import read_parquet
from acdc_pipeline.store.record import RunRecord, RunSummary


def decode(run_id: str, files: Mapping[str, bytes]) -> RunRecord:
    """The record that `encode` turned into `files`.

    Raises:
        DamagedRun: the files are not those of run `run_id`, or do not fit together.
    """
    document = _run_document(run_id, files)
    try:
        return RunRecord(
            spec=RunSpec.from_plain(document["spec"]),
            circuit=_circuit(run_id, document["topology"], files),
            decisions=tables.decisions_from(_table(run_id, files, layout.STEPS))
            if layout.STEPS in files
            else (),
            metrics=document["metrics"],
            details=document["details"],
            wall_seconds=document["wall_seconds"],
            environment=document["environment"],
            parity_error=document["parity_error"],
            heads=tables.heads_from(_table(run_id, files, layout.HEADS))
            if layout.HEADS in files
            else (),
            profile=_profile(run_id, files),
        )
    except (KeyError, TypeError, ValidationError, AcdcError) as error:
        raise _damage(run_id, error) from error


def decode_summary(run_id: str, run_json: bytes) -> RunSummary:
    """What `run.json` says about a run. Raises DamagedRun."""
    document = _run_document(run_id, {layout.RUN: run_json})
    try:
        return RunSummary(
            run_id=run_id,
            spec=RunSpec.from_plain(document["spec"]),
            edges_kept=document["edges_kept"],
            edges_total=document["edges_total"],
            metrics=metrics_of(document),
            wall_seconds=float(document["wall_seconds"]),
            parity_error=document["parity_error"],
            code_version=document["code_version"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damage(run_id, error) from error


def metrics_of(document: Mapping[str, Any]) -> dict[str, float]:
    """The metrics in a `run.json`. Raises KeyError or TypeError where they are no numbers."""
    metrics = document["metrics"]
    if not isinstance(metrics, dict) or {type(value) for value in metrics.values()} - {int, float}:
        raise TypeError("metrics have to be numbers")
    return metrics


def _profile(run_id: str, files: Mapping[str, bytes]) -> dict[str, Any] | None:
    return _json_object(run_id, files, layout.PROFILE) if layout.PROFILE in files else None


def _json_object(run_id: str, files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        document = read_json(files[name])
    except ValueError as error:
        raise damaged_run(run_id, f"not JSON: {error}", field=name) from error
    if not isinstance(document, dict):
        raise damaged_run(run_id, "not a JSON object", field=name)
    return document


def _run_document(run_id: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    if layout.RUN not in files:
        raise damaged_run(run_id, f"{layout.RUN} is missing")
    document = _json_object(run_id, files, layout.RUN)
    for key, expected in (("schema_version", schemas.SCHEMA_VERSION), ("run_id", run_id)):
        if document.get(key) != expected:
            raise damaged_run(
                run_id,
                f"{document.get(key)!r} is not valid",
                field=f"{layout.RUN}: {key}",
                allowed=str(expected),
            )
    return document


def _circuit(
    run_id: str, topology: dict[str, Any] | None, files: Mapping[str, bytes]
) -> Circuit | None:
    if topology is None:
        return None
    return tables.circuit_from(_table(run_id, files, layout.EDGES), Topology(**topology))


def _table(run_id: str, files: Mapping[str, bytes], name: str) -> pa.Table:
    if name not in files:
        raise damaged_run(run_id, f"{name} is missing")
    try:
        return read_parquet(files[name])
    except (pa.ArrowException, OSError) as error:
        raise damaged_run(run_id, f"not a Parquet file: {error}", field=name) from error


def _said(error: Exception) -> str:
    """One line of `error`."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return repr(error)


def _damage(run_id: str, error: Exception) -> DamagedRun:
    if isinstance(error, DamagedRun):
        return error
    problem = error.problem if isinstance(error, AcdcError) else _said(error)
    field = error.field if isinstance(error, AcdcError) else None
    return damaged_run(run_id, f"files do not make a run: {problem}", field=field)
