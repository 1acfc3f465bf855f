"""A record as the bytes of its files, and back. The same record always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

import acdc_pipeline
from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.graph import Circuit, Decision, Topology
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.specs import SCHEMA_VERSION, RunSpec, canonical_json
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import layout, tables
from acdc_pipeline.store.errors import damaged_run
from acdc_pipeline.store.record import RunRecord, RunSummary
from acdc_pipeline.store.threads import all_at_once

METADATA_PREFIX = "acdc."
"""Key-value metadata: `acdc.schema_version`, `acdc.run_id`, `acdc.spec`, `acdc.code_version`."""

_CONDITIONS = b"acdc.conditions"


def encode(record: RunRecord) -> dict[str, bytes]:
    """Return the files of a run by name, without the commit marker.

    `edges`, `nodes` and `graph` exist iff there is a circuit, `steps` iff there is a decision log,
    `heads` iff there are scores of heads, `profile`, `consensus` and `text` iff there is one;
    `run.json` always.
    """
    run_id, circuit = record.spec.run_id(), record.circuit
    files = {layout.RUN: json_bytes(_run_document(record))}
    if record.profile is not None:
        files[layout.PROFILE] = _compact(record.profile)
    if record.consensus is not None:
        files[layout.CONSENSUS] = _compact(record.consensus.as_dict())
    if record.text is not None:
        files[layout.TEXT] = _compact(record.text)
    parts: dict[str, pa.Table] = {}
    if circuit is not None:
        parts[layout.EDGES] = tables.edges_table(run_id, circuit)
        parts[layout.NODES] = tables.nodes_table(run_id, circuit)
        # Reading a run needs no networkx.
        from acdc_pipeline.graph.node_link import node_link_json

        # `edges.parquet` has the scores of removed edges, in far fewer bytes.
        kept = {edge: score for edge, score in circuit.scores.items() if edge in circuit.edges}
        without = Circuit(circuit.topology, circuit.edges, kept)
        files[layout.GRAPH] = node_link_json(without).encode()
    if record.decisions:
        parts[layout.STEPS] = tables.steps_table(record.decisions)
    if record.heads:
        parts[layout.HEADS] = tables.heads_table(record.heads)
    metadata = {
        METADATA_PREFIX + "schema_version": str(SCHEMA_VERSION),
        METADATA_PREFIX + "run_id": run_id,
        METADATA_PREFIX + "spec": canonical_json(record.spec.plain()),
        METADATA_PREFIX + "code_version": acdc_pipeline.__version__,
    }
    described = [table.replace_schema_metadata(metadata) for table in parts.values()]
    files |= zip(parts, all_at_once(_parquet, described), strict=True)
    return {name: files[name] for name in layout.FILES if name in files}


def decode(run_id: str, files: Mapping[str, bytes]) -> RunRecord:
    """Return the record that `encode` turned into `files`.

    Raises:
        DamagedRun: the files are not those of run `run_id`, or are inconsistent.
    """
    document = _read_run_document(run_id, files)

    def table(name: str) -> pa.Table:
        return _table(run_id, files, name)

    try:
        topology = document["topology"]
        circuit = (
            None
            if topology is None
            else tables.circuit_from(table(layout.EDGES), Topology.from_dict(topology))
        )
        consensus = None
        if layout.CONSENSUS in files:
            consensus = Consensus.from_dict(_json_object(run_id, files, layout.CONSENSUS))
            if circuit is not None:
                consensus.check_edges(circuit.topology)
        return RunRecord(
            spec=RunSpec.from_plain(document["spec"]),
            circuit=circuit,
            decisions=tables.decisions_from(table(layout.STEPS)) if layout.STEPS in files else (),
            metrics=document["metrics"],
            details=document["details"],
            wall_seconds=document["wall_seconds"],
            environment=document["environment"],
            parity_error=document["parity_error"],
            heads=tables.heads_from(table(layout.HEADS)) if layout.HEADS in files else (),
            profile=_json_object(run_id, files, layout.PROFILE)
            if layout.PROFILE in files
            else None,
            consensus=consensus,
            text=_json_object(run_id, files, layout.TEXT) if layout.TEXT in files else None,
        )
    except (KeyError, TypeError, ValidationError, AcdcError) as error:
        raise _inconsistent(run_id, error) from error


def decode_summary(run_id: str, run_json: bytes) -> RunSummary:
    """Return the summary of a run from its `run.json`. Raises DamagedRun."""
    document = _read_run_document(run_id, {layout.RUN: run_json})
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
        raise _inconsistent(run_id, error) from error


def metrics_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics in a `run.json`. Raises KeyError or TypeError if they are no numbers."""
    metrics = document["metrics"]
    if not isinstance(metrics, dict) or {type(value) for value in metrics.values()} - {int, float}:
        raise TypeError("metrics have to be numbers")
    return metrics


def encode_checkpoint(decisions: Sequence[Decision], conditions: Mapping[str, str]) -> bytes:
    """Return the file of the first `decisions` of an unfinished run, made under `conditions`."""
    table = tables.steps_table(decisions).replace_schema_metadata(
        {_CONDITIONS: canonical_json(dict(conditions)).encode()}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def decode_checkpoint(data: bytes, conditions: Mapping[str, str]) -> tuple[Decision, ...]:
    """Return the decisions in a checkpoint; none if unreadable or made under other conditions."""
    try:
        table = read_parquet(data)
        made_under = (table.schema.metadata or {}).get(_CONDITIONS, b"").decode()
        if made_under != canonical_json(dict(conditions)):
            return ()
        return tables.decisions_from(table.replace_schema_metadata(None))
    except (pa.ArrowException, OSError, AcdcError, UnicodeDecodeError):
        return ()


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a readable JSON file: sorted keys, ASCII, one value per line."""
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def read_parquet(data: bytes) -> pa.Table:
    """Return the table in the Parquet file `data`, with its metadata.

    Not `pyarrow.parquet.read_table`: for tables of this size its threads gain nothing, and a
    thread that has not started when Python exits aborts the process ("terminate called without an
    active exception", seen with pyarrow 26 in one of twelve commands on a busy machine).

    Raises:
        pyarrow.ArrowException, OSError: it is not a Parquet file.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _compact(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{text}\n".encode("ascii")


def _run_document(record: RunRecord) -> dict[str, Any]:
    circuit = record.circuit
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.spec.run_id(),
        "code_version": acdc_pipeline.__version__,
        "spec": record.spec.plain(),
        "method_version": record.spec.method.VERSION,
        "topology": None if circuit is None else circuit.topology.as_dict(),
        "edges_kept": None if circuit is None else len(circuit),
        "edges_total": None if circuit is None else circuit.topology.n_edges,
        "metrics": record.metrics,
        "details": record.details,
        "wall_seconds": float(record.wall_seconds),
        "environment": record.environment,
        "parity_error": record.parity_error,
    }


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Explicit, so that new defaults of the library do not change the bytes of old runs.
    pq.write_table(
        table,
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        row_group_size=1 << 20,
        store_schema=True,
    )
    return sink.getvalue().to_pybytes()


def _read_run_document(run_id: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    document = _json_object(run_id, files, layout.RUN)
    for key, expected in (("schema_version", SCHEMA_VERSION), ("run_id", run_id)):
        if document.get(key) != expected:
            raise damaged_run(
                run_id,
                f"{document.get(key)!r} is not valid",
                field=f"{layout.RUN}: {key}",
                allowed=str(expected),
            )
    return document


def _json_object(run_id: str, files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if name not in files:
        raise damaged_run(run_id, f"{name} is missing")
    try:
        document = read_json(files[name])
    except ValueError as error:
        raise damaged_run(run_id, f"not JSON: {error}", field=name) from error
    if not isinstance(document, dict):
        raise damaged_run(run_id, "not a JSON object", field=name)
    return document


def _table(run_id: str, files: Mapping[str, bytes], name: str) -> pa.Table:
    if name not in files:
        raise damaged_run(run_id, f"{name} is missing")
    try:
        return read_parquet(files[name])
    except (pa.ArrowException, OSError) as error:
        raise damaged_run(run_id, f"not a Parquet file: {error}", field=name) from error


def _inconsistent(run_id: str, error: Exception) -> DamagedRun:
    """Return the DamagedRun for an error that was raised while files were decoded."""
    if isinstance(error, DamagedRun):
        return error
    field = None
    if isinstance(error, AcdcError):
        problem, field = error.problem, error.field
    elif isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        problem = repr(error)
    return damaged_run(run_id, f"files do not make a run: {problem}", field=field)
