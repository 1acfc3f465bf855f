"""Edges of circuits as data frames of both libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.graph import Circuit, Edge, Topology

TOPOLOGY = Topology(1, 2, has_mlp=True)
KEPT = Edge.parse("a0.h1->m0")
REMOVED = Edge.parse("input->a0.h0<q>")
CIRCUIT = Circuit.of(TOPOLOGY, ["input->a0.h1<v>", KEPT], {KEPT: 0.5, REMOVED: -2.0})

COLUMNS = [
    "src",
    "dst",
    "src_kind",
    "src_layer",
    "src_head",
    "dst_kind",
    "dst_layer",
    "dst_head",
    "dst_slot",
    "score",
    "present",
]


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """The rows as plain data, null as None."""
    if type(frame).__module__.startswith("polars"):
        return frame.to_dicts()
    plain = frame.astype(object)
    return plain.where(frame.notna(), None).to_dict("records")


def test_frame_of_a_circuit_has_a_row_for_each_edge_kept(library: str):
    frame = CIRCUIT.to_frame(library=library)
    assert list(frame.columns) == COLUMNS
    assert [tuple(row.values()) for row in rows_of(frame)] == [
        ("input", "a0.h1", "input", None, None, "head", 0, 1, "v", None, True),
        ("a0.h1", "m0", "head", 0, 1, "mlp", 0, None, None, 0.5, True),
    ]


def test_frame_of_all_edges_marks_those_kept_and_has_every_score(library: str):
    rows = rows_of(CIRCUIT.to_frame(edges="all", library=library))
    names = [str(edge) for edge in TOPOLOGY.edges]
    slots = [f"<{row['dst_slot']}>" if row["dst_slot"] else "" for row in rows]
    assert [f"{r['src']}->{r['dst']}{s}" for r, s in zip(rows, slots, strict=True)] == names
    assert [row["present"] for row in rows] == [edge in CIRCUIT.edges for edge in TOPOLOGY.edges]
    scored = {n: r["score"] for n, r in zip(names, rows, strict=True) if r["score"] is not None}
    assert scored == {str(KEPT): 0.5, str(REMOVED): -2.0}


def test_frame_of_an_empty_circuit_has_its_columns(library: str):
    frame = Circuit.of(TOPOLOGY, []).to_frame(library=library)
    assert (list(frame.columns), len(frame)) == (COLUMNS, 0)


def test_frame_of_pandas_keeps_whole_numbers_beside_nulls():
    pytest.importorskip("pandas", reason="pandas is not installed")
    types = CIRCUIT.to_frame(library="pandas").dtypes
    assert (str(types["dst_head"]), str(types["score"]), str(types["present"])) == (
        "Int32",
        "float32",
        "bool",
    )


def test_frame_without_either_library_is_refused_naming_both(
    without_package: Callable[[str], None],
):
    without_package("pandas")
    without_package("polars")
    with pytest.raises(InvalidInput) as caught:
        CIRCUIT.to_frame()
    assert "neither pandas nor polars is installed" in str(caught.value)
    assert "pip install pandas" in str(caught.value)


def test_frame_of_a_library_that_is_not_installed_is_refused_naming_it(
    without_package: Callable[[str], None],
):
    without_package("polars")
    with pytest.raises(InvalidInput, match="polars is not installed"):
        CIRCUIT.to_frame(library="polars")


def test_frame_of_an_unknown_library_or_choice_of_edges_is_refused():
    with pytest.raises(UnknownName, match="unknown data frame library 'panda'"):
        CIRCUIT.to_frame(library="panda")
    wrong: Any = "removed"
    with pytest.raises(UnknownName, match="unknown choice of edges 'removed'"):
        CIRCUIT.to_frame(edges=wrong)
