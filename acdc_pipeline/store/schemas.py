"""Arrow schemas of the tables of a run, and the metadata every Parquet file carries."""

from __future__ import annotations

import pyarrow as pa

from acdc_pipeline.specs import SCHEMA_VERSION

__all__ = ["EDGES", "HEADS", "METADATA_PREFIX", "NODES", "SCHEMA_VERSION", "STEPS"]

METADATA_PREFIX = "acdc."
"""Key-value metadata: `acdc.schema_version`, `acdc.run_id`, `acdc.spec`, `acdc.code_version`."""


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


EDGES = pa.schema(
    [
        _column("run_id", pa.string()),
        _column("src", pa.string()),
        _column("dst", pa.string()),
        _column("src_kind", pa.string()),
        pa.field("src_layer", pa.int32()),
        pa.field("src_head", pa.int32()),
        _column("dst_kind", pa.string()),
        pa.field("dst_layer", pa.int32()),
        pa.field("dst_head", pa.int32()),
        pa.field("dst_slot", pa.string()),
        pa.field("score", pa.float32()),
        _column("present", pa.bool_()),
    ]
)
"""Every edge of the full graph, in the graph's own order; `present` says which were kept."""

NODES = pa.schema(
    [
        _column("run_id", pa.string()),
        _column("node", pa.string()),
        _column("kind", pa.string()),
        pa.field("layer", pa.int32()),
        pa.field("head", pa.int32()),
        _column("in_circuit", pa.bool_()),
        _column("in_degree", pa.int32()),
        _column("out_degree", pa.int32()),
    ]
)
"""Every node of the full graph, in computation order; degrees count kept edges."""

STEPS = pa.schema(
    [
        _column("step", pa.int32()),
        _column("src", pa.string()),
        _column("dst", pa.string()),
        # Without the slot a step does not say which edge it tested.
        pa.field("dst_slot", pa.string()),
        # 64 bits, so that the log reads back exactly as it was decided.
        _column("metric_before", pa.float64()),
        _column("metric_after", pa.float64()),
        _column("removed", pa.bool_()),
    ]
)
"""The decision log, in the order of the decisions."""

HEADS = pa.schema(
    [
        _column("model", pa.string()),
        _column("layer", pa.int32()),
        _column("head", pa.int32()),
        _column("metric", pa.string()),
        _column("value", pa.float64()),
        _column("n", pa.int64()),
        _column("seed", pa.int64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
    ]
)
"""Scores of heads, in the order in which they were computed."""
