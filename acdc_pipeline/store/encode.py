"""A record as the bytes of its files. The same record always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import acdc_pipeline
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.node_link import node_link_json
from acdc_pipeline.specs import METHOD_VERSIONS, RunSpec, canonical_json
from acdc_pipeline.store import layout, schemas, tables
from acdc_pipeline.store.record import RunRecord


def encode(record: RunRecord) -> dict[str, bytes]:
    """The files of a run by name, without the commit marker.

    `edges`, `nodes` and `graph` are there iff there is a circuit, `steps` iff there is a decision
    log, `heads` iff there are scores of heads, `profile` iff there is one; `run.json` always.
    """
    run_id = record.spec.run_id()
    files = {layout.RUN: json_bytes(_run_document(record))}
    if record.profile is not None:
        files[layout.PROFILE] = compact_json_bytes(record.profile)
    parts: dict[str, pa.Table] = {}
    if record.circuit is not None:
        parts[layout.EDGES] = tables.edges_table(run_id, record.circuit)
        parts[layout.NODES] = tables.nodes_table(run_id, record.circuit)
        files[layout.GRAPH] = node_link_json(_kept_part(record.circuit)).encode()
    if record.decisions:
        parts[layout.STEPS] = tables.steps_table(record.decisions)
    if record.heads:
        parts[layout.HEADS] = tables.heads_table(record.heads)
    metadata = _metadata(record.spec)
    for name, table in parts.items():
        files[name] = _parquet(table.replace_schema_metadata(metadata))
    return {name: files[name] for name in layout.FILES if name in files}


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A JSON file a person can read: sorted keys, ASCII, one value a line."""
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def compact_json_bytes(document: Mapping[str, Any]) -> bytes:
    """A JSON file for programs: sorted keys, ASCII, one line."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return (text + "\n").encode("ascii")


def _run_document(record: RunRecord) -> dict[str, Any]:
    circuit = record.circuit
    return {
        "schema_version": schemas.SCHEMA_VERSION,
        "run_id": record.spec.run_id(),
        "code_version": acdc_pipeline.__version__,
        "spec": record.spec.plain(),
        "method_version": METHOD_VERSIONS[record.spec.method.name],
        "topology": None if circuit is None else asdict(circuit.topology),
        "edges_kept": None if circuit is None else len(circuit),
        "edges_total": None if circuit is None else circuit.topology.n_edges,
        "metrics": record.metrics,
        "details": record.details,
        "wall_seconds": float(record.wall_seconds),
        "environment": record.environment,
        "parity_error": record.parity_error,
    }


def _kept_part(circuit: Circuit) -> Circuit:
    """The circuit without the scores of removed edges: `edges.parquet` has them, far smaller."""
    scores = {e: score for e, score in circuit.scores.items() if e in circuit.edges}
    return Circuit(circuit.topology, circuit.edges, scores)


def _metadata(spec: RunSpec) -> dict[str, str]:
    values = {
        "schema_version": str(schemas.SCHEMA_VERSION),
        "run_id": spec.run_id(),
        "spec": canonical_json(spec.plain()),
        "code_version": acdc_pipeline.__version__,
    }
    return {schemas.METADATA_PREFIX + key: value for key, value in values.items()}


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Spelt out, so that a new default of the library does not change the bytes of old runs.
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
