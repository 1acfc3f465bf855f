"""The data behind the pages: JSON for programs, a script for pages opened from a disk.

A page on a disk may not fetch files, but may load scripts: `data/x.js` says
`wikiData("x", …)` with what pages need of `data/x.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.wiki.circuits import SIZES, Question, measured_facts
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.site import Chapter

FORMAT = "acdc-pipeline/head-wiki"
FORMAT_VERSION = 1

_DIGITS = 6
_ENDS_DIGITS = 4
"""Of an interval: its ends are drawn at random."""
_PAGE_DIGITS = 5
"""Pages show three."""


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as JSON in ASCII; the same document always gives the same bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def script_bytes(name: str, document: bytes) -> bytes:
    """A JSON document as a script that hands it to the page."""
    # ASCII JSON is a JavaScript expression; `<` cannot close a script that stands in a page.
    safe = document.rstrip().replace(b"<", b"\\u003c")
    return b"wikiData(" + json.dumps(name).encode("ascii") + b"," + safe + b");\n"


def model_document(chapter: Chapter) -> dict[str, Any]:
    """Everything about a model: scores in columns, one value a head, layer by layer."""
    model = chapter.model
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": model.title,
        "ref": model.ref,
        "revision": model.revision,
        "slug": model.slug,
        "family": model.family,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "d_model": model.d_model,
        "data_version": model.data_version,
        "runs": list(model.run_ids),
        "scores": {
            metric: {
                "values": _column(score.values),
                "low": _column(score.low, _ENDS_DIGITS),
                "high": _column(score.high, _ENDS_DIGITS),
                "n": score.n,
                "seed": score.seed,
                "null": model.nulls.get(metric),
            }
            for metric, score in model.scores.items()
        },
        "roles": [role.plain() for held in model.roles.values() for role in held],
        "circuits": [
            _circuits(question) for questions in model.questions.values() for question in questions
        ],
    }


def page_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's pages and the comparison read of `model_document`: a third of it."""
    kept = {name: document[name] for name in ("slug", "n_layers", "n_heads", "roles", "circuits")}
    columns = {metric: _shorter(score["values"]) for metric, score in document["scores"].items()}
    return {**kept, "scores": {metric: {"values": column} for metric, column in columns.items()}}


def scores_parquet(model: Model) -> bytes:
    """A row for every score of every head."""
    metrics: list[str] = []
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _MEASURED}
    for metric, score in model.scores.items():
        layer, head = np.nonzero(np.isfinite(score.values))
        metrics += [metric] * len(layer)
        columns = (
            layer.astype(np.int32),
            head.astype(np.int32),
            score.values[layer, head],
            score.low[layer, head],
            score.high[layer, head],
            np.full(len(layer), score.n, np.int64),
            np.full(len(layer), score.seed, np.int64),
        )
        for name, column in zip(_MEASURED, columns, strict=True):
            parts[name].append(column)
    whole = {
        "model": [model.title] * len(metrics),
        "revision": [model.revision] * len(metrics),
        "metric": metrics,
        **{
            # a NaN is no value here
            name: pa.array(np.concatenate(columns or [np.zeros(0)]), from_pandas=True)
            for name, columns in parts.items()
        },
    }
    arrays = [pa.array(whole[field.name]).cast(field.type) for field in _SCORES]
    return _parquet(pa.Table.from_arrays(arrays, schema=_SCORES), _MEASURED[2:5])


def edges_parquet(model: Model) -> bytes:
    """A row for every edge of every circuit."""
    columns: dict[str, list[Any]] = {name: [] for name in _EDGES.names}
    for questions in model.questions.values():
        for question in questions:
            for cut in question.cuts:
                for edge in cut.edges.values():
                    row = (
                        model.title,
                        question.task,
                        cut.run.run_id,
                        question.spec.method.name,
                        cut.threshold,
                        edge.src,
                        edge.dst,
                        edge.slot or None,
                        edge.score,
                    )
                    for name, value in zip(columns, row, strict=True):
                        columns[name].append(value)
    return _parquet(pa.Table.from_pydict(columns, schema=_EDGES), ())


_MEASURED = ("layer", "head", "value", "ci_low", "ci_high", "n", "seed")
_SCORES = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("layer", pa.int32(), nullable=False),
        pa.field("head", pa.int32(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
_EDGES = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("threshold", pa.float64()),
        pa.field("src", pa.string(), nullable=False),
        pa.field("dst", pa.string(), nullable=False),
        pa.field("slot", pa.string()),
        pa.field("score", pa.float32()),
    ]
)


def _circuits(question: Question) -> dict[str, Any]:
    return {
        "task": question.task,
        "method": {k: v for k, v in question.spec.method.plain().items() if k not in SIZES},
        "prompts": question.spec.prompts,
        "seed": question.spec.seed,
        "dtype": question.spec.dtype,
        "cuts": [
            {
                "run": cut.run.run_id,
                "threshold": cut.threshold,
                "edges": len(cut.edges),
                "edges_total": cut.run.edges_total,
                "faithfulness": cut.faithfulness,
                "metrics": dict(cut.run.metrics),
                "evaluation": measured_facts(cut.run.figures),
            }
            for cut in question.cuts
        ],
        "heads": {
            head: (cut.threshold if cut.threshold is not None else len(cut.edges))
            for head, at in question.heads.items()
            if (cut := question.survives(at)) is not None
        },
    }


def _column(grid: np.ndarray, digits: int = _DIGITS) -> list[float | None] | None:
    """The values head by head; None for all if none is there."""
    if not np.isfinite(grid).any():
        return None
    return [_number(value, digits) for value in grid.ravel().tolist()]


def _shorter(column: list[float | None] | None) -> list[float | None] | None:
    if column is None:
        return None
    return [None if value is None else _number(value, _PAGE_DIGITS) for value in column]


def _number(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _parquet(table: pa.Table, measured: Sequence[str]) -> bytes:
    """A table as a file; `measured` are columns of 64-bit numbers that hardly repeat."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        version="2.6",
        compression="zstd",
        compression_level=3,
        # the library takes names as well as a truth value
        use_dictionary=cast("Any", [n for n in table.column_names if n not in measured]),
        # their first bytes repeat, where they lie together
        column_encoding=dict.fromkeys(measured, "BYTE_STREAM_SPLIT") or None,
    )
    return sink.getvalue().to_pybytes()
