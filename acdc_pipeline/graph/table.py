"""The edges of a circuit as a table, and tables as data frames of pandas or polars."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal, get_args

import pyarrow as pa

from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.topology import Topology

Library = Literal["pandas", "polars"]
LIBRARIES: tuple[Library, ...] = get_args(Library)

EDGE_COLUMNS = pa.schema(
    [
        pa.field("src", pa.string(), nullable=False),
        pa.field("dst", pa.string(), nullable=False),
        pa.field("src_kind", pa.string(), nullable=False),
        pa.field("src_layer", pa.int32()),
        pa.field("src_head", pa.int32()),
        pa.field("dst_kind", pa.string(), nullable=False),
        pa.field("dst_layer", pa.int32()),
        pa.field("dst_head", pa.int32()),
        pa.field("dst_slot", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("present", pa.bool_(), nullable=False),
    ]
)
"""One row per edge; `present` is true for the edges kept, `score` null without one."""

SPAN_COLUMN = pa.field("span", pa.string(), nullable=False)
"""The span of an edge, a further column in a graph with spans, after `dst_slot`."""


def edge_schema(topology: Topology) -> pa.Schema:
    """Return the columns of a graph's edges: `EDGE_COLUMNS`, and the span where there are spans."""
    at = EDGE_COLUMNS.get_field_index("dst_slot") + 1
    return EDGE_COLUMNS.insert(at, SPAN_COLUMN) if topology.spans else EDGE_COLUMNS


def edge_columns(circuit: Circuit, edges: Sequence[Edge]) -> dict[str, list[Any]]:
    """Return `edges` of the circuit's graph as the columns of `edge_schema`, in their order."""
    spans = {"span": [e.span for e in edges]} if circuit.topology.spans else {}
    return {
        "src": [str(e.src) for e in edges],
        "dst": [str(e.dst) for e in edges],
        "src_kind": [e.src.kind for e in edges],
        "src_layer": [e.src.layer for e in edges],
        "src_head": [e.src.head for e in edges],
        "dst_kind": [e.dst.kind for e in edges],
        "dst_layer": [e.dst.layer for e in edges],
        "dst_head": [e.dst.head for e in edges],
        "dst_slot": [e.slot for e in edges],
        **spans,
        "score": [circuit.scores.get(e) for e in edges],
        "present": [e in circuit.edges for e in edges],
    }


def edge_frame(circuit: Circuit, edges: Sequence[Edge], library: str | None) -> Any:
    """Return `edges` of the circuit's graph as a data frame, see `Circuit.to_frame`."""
    return data_frame(
        pa.table(edge_columns(circuit, edges), schema=edge_schema(circuit.topology)), library
    )


def data_frame(table: pa.Table, library: str | None) -> Any:
    """Return `table` as a data frame.

    Nulls stay nulls: in pandas, columns of whole numbers have the type `Int32` or `Int64`.

    Args:
        library: `pandas` or `polars`; None for the first of them that is installed.

    Raises:
        UnknownName: it is neither.
        InvalidInput: the library, or both of them, are not installed.
    """
    if library is not None and library not in LIBRARIES:
        raise UnknownName.among(
            "data frame library", library, LIBRARIES, where="to_frame", field="library"
        )
    wanted = LIBRARIES if library is None else (library,)
    installed = next((name for name in wanted if find_spec(name) is not None), None)
    if installed is None:
        names = "neither pandas nor polars is" if library is None else f"{library} is not"
        raise InvalidInput(
            f"{names} installed",
            where="to_frame",
            field="library",
            allowed="pandas or polars",
            fix=f"pip install {library or 'pandas (or: pip install polars)'}",
        )
    if installed == "polars":
        import polars  # pyright: ignore[reportMissingImports]  (optional)

        return polars.from_arrow(table)
    import pandas

    whole = {pa.int32(): pandas.Int32Dtype(), pa.int64(): pandas.Int64Dtype()}
    return table.to_pandas(types_mapper=whole.get)
