"""Edges that people name on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.cli.options.parsers import parse_circuit
from acdc_pipeline.errors import GraphError, InvalidInput
from acdc_pipeline.graph import Topology

TOPOLOGY = Topology(4, 8, has_mlp=True)


def test_edges_named_at_greater_length_than_a_file_name_are_read():
    names = [str(edge) for edge in TOPOLOGY.edges]
    assert len(",".join(names)) > 10_000
    assert len(parse_circuit(",".join(names), TOPOLOGY).circuit) == len(names)


@pytest.mark.parametrize("name", ["input->a0.h1", "inptu->a0.h1<v>"])
def test_unknown_edge_is_refused_with_the_nearest_one_as_in_python(name: str):
    with pytest.raises(GraphError) as in_python:
        TOPOLOGY.edge_of(name)
    with pytest.raises(GraphError) as refused:
        parse_circuit(name, TOPOLOGY)
    assert str(refused.value) == str(in_python.value)
    assert "did you mean 'input->a0.h1<" in str(refused.value)


@pytest.mark.parametrize("given", ["a0.h2->m0@S2", '["a0.h2->m0@S2"]', '[["a0.h2", "m0@S2"]]'])
def test_edge_in_a_span_is_refused_in_a_list_with_the_format_that_has_positions(
    tmp_path: Path, given: str
):
    if given.startswith("["):
        (tmp_path / "circuit.json").write_text(given)
        given = str(tmp_path / "circuit.json")
    with pytest.raises(InvalidInput, match="a list of edges has no positions") as refused:
        parse_circuit(given, TOPOLOGY)
    assert "node-link JSON" in str(refused.value.fix)
    assert "did you mean 'a0.h2->m0'" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"a": ' * 50_000,
        '{"edges": 5}',
        '{"cfg": 5}',
        '{"graph": [], "nodes": [], "edges": [], "directed": true, "multigraph": true}',
        "",
        "# nothing\n\n",
        "digraph circuit {}",
        '{"cfg": {"n_layers": 1000000, "n_heads": 8, "parallel_attn_mlp": false}, "nodes": {}, '
        '"edges": {}}',
    ],
)
def test_edges_in_a_file_that_holds_no_circuit_are_refused(tmp_path: Path, text: str):
    (tmp_path / "circuit.json").write_text(text)
    with pytest.raises(InvalidInput):
        parse_circuit(str(tmp_path / "circuit.json"), TOPOLOGY)


@pytest.mark.parametrize("text", ["<?xml version='1.0'?><graphml/>", "digraph circuit {}"])
def test_edges_in_a_format_that_is_written_only_are_refused_with_those_that_are_read(
    tmp_path: Path, text: str
):
    (tmp_path / "circuit").write_text(text)
    with pytest.raises(InvalidInput, match="written but not read") as raised:
        parse_circuit(str(tmp_path / "circuit"), TOPOLOGY)
    assert raised.value.fix is not None
    assert "node-link" in raised.value.fix
