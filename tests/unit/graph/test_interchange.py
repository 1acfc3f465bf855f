"""GraphML, DOT and EAP-IG / MIB graph JSON."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.export import circuit_dot, circuit_graphml
from acdc_pipeline.graph.mib import from_mib, mib_json, to_mib
from tests.strategies import circuits, layered_topologies, topologies

SMALL = Circuit.of(
    Topology(1, 2, has_mlp=True),
    ["input->a0.h1<q>", "input->a0.h1<k>", "a0.h1->m0", "m0->logits"],
    {Edge.parse("a0.h1->m0"): 0.25, Edge.parse("a0.h0->m0"): -0.5},
)


@given(circuits(topologies() | layered_topologies()))
def test_graphml_read_by_networkx_has_the_circuits_edges_and_scores(circuit: Circuit):
    graph = nx.read_graphml(BytesIO(circuit_graphml(circuit).encode()), force_multigraph=True)
    assert set(graph.nodes) == {str(n) for n in circuit.nodes}
    assert {key for _, _, key in graph.edges(keys=True)} == {str(e) for e in circuit.edges}
    for src, dst, key, data in graph.edges(keys=True, data=True):
        edge = Edge.parse(key)
        assert (src, dst, data.get("slot")) == (str(edge.src), str(edge.dst), edge.slot)
        assert data.get("score") == circuit.scores.get(edge)


def test_graphml_is_the_same_text_twice():
    assert circuit_graphml(SMALL) == circuit_graphml(SMALL)


def test_dot_names_every_edge_once_and_colours_slots_apart():
    text = circuit_dot(SMALL)
    assert re.findall(r'"(\S+)" -> "(\S+)"', text) == [
        ("input", "a0.h1"),
        ("input", "a0.h1"),
        ("a0.h1", "m0"),
        ("m0", "logits"),
    ]
    assert '{ rank=same; "a0.h1"; }' in text
    assert len(set(re.findall(r'color="(#\w+)"', text))) == 3
    assert 'tooltip="a0.h1->m0: 0.25"' in text
    assert text.count("{") == text.count("}")


def test_mib_document_of_a_small_circuit_is_what_eap_ig_writes():
    document = to_mib(SMALL, d_model=64)
    assert document["cfg"] == {
        "n_layers": 1,
        "n_heads": 2,
        "parallel_attn_mlp": False,
        "d_model": 64,
    }
    assert document["nodes"] == {
        "input": {"in_graph": True},
        "a0.h0": {"in_graph": False},
        "a0.h1": {"in_graph": True},
        "m0": {"in_graph": True},
        "logits": {"in_graph": True},
    }
    # 3 slots x 2 heads see the input; m0 sees input and heads; the logits see all four.
    assert len(document["edges"]) == 6 + 3 + 4
    assert document["edges"]["a0.h1->m0"] == {"score": 0.25, "in_graph": True}
    assert document["edges"]["a0.h0->m0"] == {"score": -0.5, "in_graph": False}
    assert document["edges"]["input->a0.h1<q>"] == {"score": 0.0, "in_graph": True}


@given(circuits())
def test_mib_json_round_trip_keeps_edges_and_scores_and_fills_the_rest_with_zero(circuit: Circuit):
    back = from_mib(json.loads(mib_json(circuit, d_model=8)))
    assert back.topology == circuit.topology
    assert back.edges == circuit.edges
    assert back.scores == {e: circuit.scores.get(e, 0.0) for e in circuit.topology.edges}


def test_mib_document_with_unscored_edges_reads_them_as_unscored():
    document = to_mib(SMALL, d_model=8)
    document["edges"]["m0->logits"]["score"] = float("nan")
    assert Edge.parse("m0->logits") not in from_mib(document).scores


def test_mib_document_naming_few_edges_reads_the_rest_as_removed():
    document = to_mib(SMALL, d_model=8)
    document["edges"] = {"m0->logits": {"score": 1.0, "in_graph": True}}
    assert from_mib(document).edges == {Edge.parse("m0->logits")}


def without(path: str) -> dict[str, object]:
    document = to_mib(SMALL, d_model=8)
    place = document
    *parents, last = path.split("/")
    for parent in parents:
        place = place[parent]
    del place[last]
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (without("cfg"), "cfg"),
        (without("nodes"), "nodes"),
        (without("cfg/n_heads"), "cfg.n_heads"),
        (without("edges/m0->logits/score"), "edges.m0->logits.score"),
        (without("edges/m0->logits/in_graph"), "edges.m0->logits"),
        (without("nodes/m0"), "not an edge of this graph"),
    ],
)
def test_mib_document_without_a_circuit_is_a_graph_error(document: dict[str, object], message: str):
    with pytest.raises(GraphError) as caught:
        from_mib(document)
    assert message in str(caught.value)


def test_interchange_texts_survive_a_file(tmp_path: Path):
    path = tmp_path / "circuit.json"
    path.write_text(mib_json(SMALL, d_model=8), encoding="utf-8")
    assert from_mib(json.loads(path.read_text(encoding="utf-8"))).edges == SMALL.edges
