"""All scores, roles and edges of the site as three Parquet tables, to be read over HTTP.

A program such as DuckDB asks for the end of such a file, and then only for the columns and groups
of rows that its query needs. Therefore every model has row groups of its own, with statistics by
which the others are skipped. Files stay below the size that hosts of static pages accept: a table
that is larger goes on in another file (`all.scores.1.parquet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.wiki.model_data import EDGES_WITH_SPAN, edge_rows, parquet_options
from acdc_pipeline.wiki.models import Model

LARGEST = 20_000_000
"""Bytes after which a table goes on in another file; the smallest limit of a host is 25 MiB."""

DUMPS = ("all.scores.parquet", "all.roles.parquet", "all.edges.parquet")
"""The first file of each table."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
_OF_MODEL = {"slug": "slug", "model": "title", "revision": "revision"}
"""Columns of texts that a model has once, and its attributes."""

_SLUG = pa.field("slug", pa.string())
_SCORES = pa.schema(
    [
        ("slug", _TEXT),
        ("model", _TEXT),
        ("revision", _TEXT),
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("metric", _TEXT),
        ("value", pa.float32()),
        ("n", pa.int32()),
        ("null", pa.float32()),
    ]
)
_EDGES = EDGES_WITH_SPAN.insert(0, _SLUG)
_ROLES = pa.schema(
    [
        _SLUG,
        ("model", pa.string()),
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("role", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("rank", pa.int32()),
        ("of", pa.int32()),
        ("evidence", pa.list_(pa.string())),
    ]
)


def score_dump(models: Iterable[Model]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the tables of scores and roles.

    Scores are in single precision; the files of the models have them in double precision, with
    their intervals, which would make this table three times as large.
    """
    known = list(models)
    yield from _files("scores", _SCORES, map(_scores, known), floats=("value",))
    yield from _files("roles", _ROLES, map(_roles, known))


def edge_dump(models: Iterable[Model]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the table of edges, with a column `span`."""
    yield from _files("edges", _EDGES, map(_edges, models))


def _edges(model: Model) -> pa.Table:
    rows = ((model.slug, *row) for row in edge_rows(model, spans=True))
    columns = list(zip(*rows, strict=True)) or [()] * len(_EDGES)
    return pa.Table.from_pydict(dict(zip(_EDGES.names, columns, strict=True)), schema=_EDGES)


def _scores(model: Model) -> pa.Table:
    found = [(score, np.nonzero(np.isfinite(score.values))) for score in model.scores.values()]
    sizes = [len(at[0]) for _, at in found]
    nulls = [model.nulls.get(score.metric, np.nan) for score, _ in found]
    columns: dict[str, Any] = {
        **{name: _repeat([getattr(model, of)], [sum(sizes)]) for name, of in _OF_MODEL.items()},
        "layer": _join([at[0] for _, at in found], np.int16),
        "head": _join([at[1] for _, at in found], np.int16),
        "metric": _repeat([score.metric for score, _ in found], sizes),
        "value": _join([score.values[at] for score, at in found], np.float32),
        "n": pa.array(np.repeat(np.array([s.n for s, _ in found], np.int32), sizes)),
        # NaN becomes null
        "null": pa.array(np.repeat(np.array(nulls, np.float32), sizes), from_pandas=True),
    }
    return pa.table({name: columns[name] for name in _SCORES.names})


def _repeat(texts: Sequence[str], sizes: Sequence[int]) -> pa.DictionaryArray:
    """Return each text as often as `sizes` says, as indexes: texts themselves are slow."""
    indexes = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
    return pa.DictionaryArray.from_arrays(pa.array(indexes), pa.array(texts, pa.string()))


def _join(parts: Sequence[np.ndarray], kind: type[np.generic]) -> pa.Array:
    return pa.array(np.concatenate([np.zeros(0), *parts]).astype(kind))


def _roles(model: Model) -> pa.Table:
    rows = [
        {
            "slug": model.slug,
            "model": model.title,
            "layer": layer,
            "head": head,
            "role": held.role,
            "task": held.on,
            "metric": held.metric,
            "value": held.value,
            "rank": held.rank,
            "of": held.of,
            "evidence": list(held.evidence),
        }
        for (layer, head), roles in sorted(model.roles.items())
        for held in roles
    ]
    return pa.Table.from_pylist(rows, schema=_ROLES)


def _files(
    name: str, schema: pa.Schema, tables: Iterable[pa.Table], floats: tuple[str, ...] = ()
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a table, in each of which a model is one row group."""
    sink = writer = None
    number = 0
    for table in tables:
        if sink is None or writer is None:
            sink = pa.BufferOutputStream()
            writer = _writer(sink, schema, floats)
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
        if sink.tell() > LARGEST:
            writer.close()
            yield _path(name, number), sink.getvalue().to_pybytes()
            sink, number = None, number + 1
    if sink is None and number == 0:
        sink = pa.BufferOutputStream()
        writer = _writer(sink, schema, floats)
    if sink is not None and writer is not None:
        writer.close()
        yield _path(name, number), sink.getvalue().to_pybytes()


def _path(name: str, number: int) -> str:
    return f"data/all.{name}{f'.{number}' if number else ''}.parquet"


def _writer(
    sink: pa.BufferOutputStream, schema: pa.Schema, floats: tuple[str, ...]
) -> pq.ParquetWriter:
    # readers see texts, not indexes
    return pq.ParquetWriter(
        sink, schema, **parquet_options(schema.names, floats), store_schema=False
    )
