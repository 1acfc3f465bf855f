"""The data of a model: JSON and Parquet for programs, a script for the pages.

Browsers let a page on a disk load scripts, but not other files. Therefore what pages need of
`data/x.json` is also in `data/x.js`, which calls `wikiData("x", …)`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.store import Figures
from acdc_pipeline.wiki.circuits import SIZES, CircuitSeries
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.scores import INTERVAL_BITS, round_to_bits

FORMAT = "acdc-pipeline/head-wiki"
FORMAT_VERSION = 1

_DIGITS = 6
_INTERVAL_DIGITS = 3
"""Significant digits of the ends of an interval, which are random."""
_PAGE_DIGITS = 5
"""Significant digits in the script; pages show three."""

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
EDGES = pa.schema(
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
EDGES_WITH_SPAN = EDGES.insert(EDGES.get_field_index("score"), pa.field("span", pa.string()))


def model_files(model: Model) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every data file of a model."""
    document = model_document(model)
    path = f"data/{model.slug}"
    yield f"{path}.json", encode_json(document)
    yield f"{path}.js", encode_script(model.slug, page_document(document))
    yield f"{path}.scores.parquet", scores_parquet(model)
    yield f"{path}.edges.parquet", edges_parquet(model)


def encode_json(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Encode a document as ASCII; the same document always gives the same bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def encode_script(name: str, document: Mapping[str, Any]) -> bytes:
    """Encode a document as a script that passes it to the page."""
    # ASCII JSON is a JavaScript expression; without `<` it cannot close a script element
    data = encode_json(document).rstrip().replace(b"<", b"\\u003c")
    return b"wikiData(" + json.dumps(name).encode("ascii") + b"," + data + b");\n"


def pick(item: object, *names: str) -> dict[str, Any]:
    """Return some attributes of an object by name."""
    return {name: getattr(item, name) for name in names}


def model_document(model: Model) -> dict[str, Any]:
    """Return everything about a model; the values of a score are a list, layer by layer."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "model": model.title,
        **pick(model, "ref", "revision", "slug", "family", "n_layers", "n_heads", "d_model"),
        "data_version": model.data_version,
        "runs": list(model.run_ids),
        "scores": {
            metric: {
                "values": rounded_column(score.values, _DIGITS),
                "low": rounded_column(score.low, _INTERVAL_DIGITS),
                "high": rounded_column(score.high, _INTERVAL_DIGITS),
                "n": score.n,
                "seed": score.seed,
                "null": model.nulls.get(metric),
            }
            for metric, score in model.scores.items()
        },
        "roles": [role.plain() for held in model.roles.values() for role in held],
        "circuits": [
            _circuits(series) for all_series in model.circuits.values() for series in all_series
        ],
    }


def page_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `model_document` that pages read, about a third."""
    kept = {name: document[name] for name in ("slug", "n_layers", "n_heads", "roles", "circuits")}
    columns = {
        metric: score["values"]
        and [None if value is None else _round(value, _PAGE_DIGITS) for value in score["values"]]
        for metric, score in document["scores"].items()
    }
    return {**kept, "scores": {metric: {"values": column} for metric, column in columns.items()}}


def scores_parquet(model: Model) -> bytes:
    """Return a table with a row for every score of every head."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _SCORES.names}
    for metric, score in model.scores.items():
        at = np.nonzero(np.isfinite(score.values))
        size = len(at[0])
        row: tuple[Any, ...] = (model.title, model.revision, *at, metric)
        low, high = (round_to_bits(ends[at], INTERVAL_BITS) for ends in (score.low, score.high))
        row += (score.values[at], low, high, score.n, score.seed)
        for part, column in zip(parts.values(), row, strict=True):
            # numpy's own strings lose a null character at the end
            kind = object if isinstance(column, str) else None
            part.append(np.broadcast_to(np.array(column, kind), size))
    arrays = [
        # turns NaN into null
        pa.array(np.concatenate(parts[field.name]), from_pandas=True).cast(field.type)
        if parts[field.name]
        else pa.array([], field.type)
        for field in _SCORES
    ]
    table = pa.Table.from_arrays(arrays, schema=_SCORES)
    return _parquet(table, floats=("value", "ci_low", "ci_high"))


def edges_parquet(model: Model) -> bytes:
    """Return a table with a row for every edge of every circuit.

    With a column `span` if any of the circuits has positions.
    """
    spans = any(series.by_span for found in model.circuits.values() for series in found)
    schema = EDGES_WITH_SPAN if spans else EDGES
    columns = list(zip(*edge_rows(model, spans), strict=True)) or [()] * len(schema)
    return _parquet(
        pa.Table.from_pydict(dict(zip(schema.names, columns, strict=True)), schema=schema)
    )


def edge_rows(model: Model, spans: bool) -> Iterator[tuple[Any, ...]]:
    """Yield a row of `EDGES` for every edge of every circuit, with its span if `spans`."""
    for series in (series for found in model.circuits.values() for series in found):
        for cut in series.cuts:
            of_run = series.task, cut.run.run_id, series.spec.method.name, cut.threshold
            for edge in cut.edges.values():
                ends = edge.src, edge.dst, edge.slot or None
                place = (edge.span or None,) if spans else ()
                yield model.title, *of_run, *ends, *place, edge.score


def evaluation_data(figures: Figures) -> dict[str, Any] | None:
    """Return the results of `acdc evaluate` by name; None where the circuit was not evaluated."""
    if not figures.evaluations:
        return None
    needed, nodes = figures.needed or (None, None)
    return {
        **pick(figures, "cmd", "cpr", "incompleteness", "worst_knockout", "scrubbed", "transfer"),
        **{
            f"{name}_interval": list(interval)
            for name, interval in (("cmd", figures.cmd_interval), ("cpr", figures.cpr_interval))
            if interval is not None
        },
        **({"ablations": dict(under)} if (under := figures.under_ablations) else {}),
        "above_null": figures.percentile,
        "null_circuits": figures.null_drawn,
        "nodes_needed": needed,
        "nodes": nodes,
        "fresh_prompts": figures.fresh,
        "stability": figures.jaccard,
    }


def _circuits(series: CircuitSeries) -> dict[str, Any]:
    return {
        "task": series.task,
        "method": {k: v for k, v in series.spec.method.plain().items() if k not in SIZES},
        **pick(series.spec, "prompts", "seed", "dtype"),
        **(pick(series.spec, "positions") if series.by_span else {}),
        "cuts": [
            {
                "run": cut.run.run_id,
                "threshold": cut.threshold,
                "edges": len(cut.edges),
                **({"components": len(cut.components)} if series.by_span else {}),
                "edges_total": cut.run.edges_total,
                "faithfulness": cut.faithfulness,
                "metrics": dict(cut.run.metrics),
                "evaluation": evaluation_data(cut.run.figures),
            }
            for cut in series.cuts
        ],
        "heads": {
            head: series.cuts[inside.index(True)].size for head, inside in series.heads.items()
        },
    }


def rounded_column(grid: np.ndarray, digits: int) -> list[float | None] | None:
    """Return the values head by head, with significant digits; None if all are missing."""
    if not np.isfinite(grid).any():
        return None
    return [_round(value, digits) for value in grid.ravel().tolist()]


def _round(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _parquet(table: pa.Table, floats: Sequence[str] = ()) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **parquet_options(table.column_names, floats))
    return sink.getvalue().to_pybytes()


def parquet_options(columns: Iterable[str], floats: Sequence[str]) -> dict[str, Any]:
    """Return how tables are encoded; `floats` are columns of numbers that rarely repeat."""
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [name for name in columns if name not in floats],
        # the first bytes of such numbers are often the same, and compress well next to each other
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT") or None,
    }
