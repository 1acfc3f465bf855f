"""Rows of the index: the columns, and the conversion from and to the summaries of runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from acdc_pipeline.specs import RunSpec, canonical_json
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import FileInfo
from acdc_pipeline.store.record import RunSummary

Row = Mapping[str, Any]
"""A row of the index, by column."""


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SCHEMA = pa.schema(
    [
        _column("run_id", pa.string()),
        _column("task", pa.string()),
        _column("model", pa.string()),
        _column("method", pa.string()),
        pa.field("threshold", pa.float64()),
        pa.field("method_share", pa.float64()),
        pa.field("method_edges", pa.int64()),
        _column("prompts", pa.int64()),
        _column("seed", pa.int64()),
        _column("dtype", pa.string()),
        pa.field("edges_kept", pa.int64()),
        pa.field("edges_total", pa.int64()),
        _column("metrics", pa.map_(pa.string(), pa.float64())),
        _column("wall_seconds", pa.float64()),
        pa.field("parity_error", pa.float64()),
        _column("task_hash", pa.string()),
        _column("model_revision", pa.string()),
        _column("code_version", pa.string()),
        _column("spec", pa.string()),
        pa.field("attempt", pa.string()),
        _column("fingerprint", pa.string()),
    ]
)
"""One row per run. `threshold`, `method_share` and `method_edges` are parameters of the method."""


def row_of(summary: RunSummary, attempt: str | None, files: Mapping[str, FileInfo]) -> Row:
    """Return the row of a run.

    Args:
        attempt: the subfolder that holds the files, as its commit marker names it.
        files: the files of the run, as they are listed.
    """
    spec = summary.spec
    method = spec.method.plain()
    return {
        "run_id": summary.run_id,
        "task": spec.task,
        "model": spec.model,
        "method": spec.method.name,
        "threshold": method.get("threshold"),
        "method_share": method.get("share"),
        "method_edges": method.get("edges"),
        "prompts": spec.prompts,
        "seed": spec.seed,
        "dtype": spec.dtype,
        "edges_kept": summary.edges_kept,
        "edges_total": summary.edges_total,
        "metrics": list(summary.metrics.items()),
        "wall_seconds": summary.wall_seconds,
        "parity_error": summary.parity_error,
        "task_hash": spec.task_hash,
        "model_revision": spec.model_revision,
        "code_version": summary.code_version,
        "spec": canonical_json(spec.plain()),
        "attempt": attempt,
        "fingerprint": fingerprint(files, attempt),
    }


def summary_of(row: Row) -> RunSummary:
    """Return the summary of the run in `row`. Raises ValueError if this version cannot read it."""
    return RunSummary(
        run_id=row["run_id"],
        spec=RunSpec.model_validate_json(row["spec"], strict=True),
        edges_kept=row["edges_kept"],
        edges_total=row["edges_total"],
        metrics=dict(row["metrics"]),
        wall_seconds=row["wall_seconds"],
        parity_error=row["parity_error"],
        code_version=row["code_version"],
    )


def fingerprint(files: Mapping[str, FileInfo], attempt: str | None) -> str:
    """Return 16 hex digits of a sha256 over the listed files of a run.

    Files count by name, size and, in a local folder, time of the last write. Files that belong to
    no run, or to another attempt at it, do not count.
    """
    folder = f"{attempt}/" if attempt else ""
    paths = (layout.MARKER, *(folder + name for name in layout.FILES))
    lines = [
        f"{path} {files[path]['size']} {files[path].get('mtime_ns')}"
        for path in paths
        if path in files
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def size_key(threshold: float | None, share: float | None, edges: int | None) -> float:
    """Return the number that `run_list.size_order` sorts by, from the parameters of a method."""
    return -threshold if threshold is not None else share or float(edges or 0)


def rows_of(table: pa.Table, *, few: int) -> Callable[[int], Row]:
    """Return a function from a position in `table` to the row there, for about `few` positions.

    A row on its own takes ten times the time of one among all. (`take` would import pandas.)
    """
    if few * 10 > table.num_rows:
        return table.to_pylist().__getitem__
    return lambda position: table.slice(position, 1).to_pylist()[0]
