from __future__ import annotations

import json

import networkx as nx
import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.consensus import Consensus, Role
from acdc_pipeline.graph.node_link import (
    from_networkx,
    from_node_link,
    node_link_json,
    to_node_link,
)
from tests.strategies import circuits, layered_topologies, topologies

SMALL = Circuit.of(
    Topology(1, 2, has_mlp=True),
    ["input->a0.h1<q>", "input->a0.h1<k>", "a0.h1->m0", "m0->logits"],
    {Edge.parse("a0.h1->m0"): 0.25, Edge.parse("a0.h0->m0"): -0.5},
)


def test_networkx_graph_of_a_small_circuit_is_what_one_writes_by_hand():
    graph = SMALL.to_networkx()
    assert list(graph.nodes) == ["input", "a0.h1", "m0", "logits"]
    assert graph.nodes["a0.h1"] == {"kind": "head", "layer": 0, "head": 1}
    assert set(graph.edges(keys=True)) == {
        ("input", "a0.h1", "q"),
        ("input", "a0.h1", "k"),
        ("a0.h1", "m0", ""),
        ("m0", "logits", ""),
    }
    assert graph.edges["a0.h1", "m0", ""] == {"score": 0.25}
    assert graph.graph["removed_scores"] == {"a0.h0->m0": -0.5}


@given(circuits(topologies() | layered_topologies()))
def test_networkx_round_trip_is_exact(circuit: Circuit):
    assert from_networkx(circuit.to_networkx()) == circuit


@given(circuits(topologies() | layered_topologies()))
def test_node_link_json_round_trip_is_exact(circuit: Circuit):
    assert from_node_link(json.loads(node_link_json(circuit))) == circuit


@given(circuits(topologies() | layered_topologies()))
def test_node_link_json_is_read_by_networkx_itself(circuit: Circuit):
    graph = nx.node_link_graph(json.loads(node_link_json(circuit)), edges="edges")
    assert graph.is_directed()
    assert graph.is_multigraph()
    assert graph.number_of_edges() == len(circuit)
    assert from_networkx(graph) == circuit


def test_node_link_edges_come_in_the_graphs_order():
    circuit = Circuit.full(Topology(2, 2, has_mlp=True))
    names = [(e["source"], e["target"], e["key"]) for e in to_node_link(circuit)["edges"]]
    assert names == [(str(e.src), str(e.dst), e.slot or "") for e in circuit.topology.edges]


def test_node_link_json_does_not_depend_on_the_order_edges_were_found_in():
    topology, names = SMALL.topology, [str(e) for e in SMALL.sorted_edges]
    scores = {edge: SMALL.scores[edge] for edge in reversed(list(SMALL.scores))}
    assert node_link_json(Circuit.of(topology, reversed(names), scores)) == node_link_json(SMALL)


def test_edges_of_a_consensus_have_shares_and_roles_and_read_back_as_the_circuit():
    first = SMALL.sorted_edges[0]
    roles: dict[Edge, Role] = dict.fromkeys(SMALL.edges, "necessary")
    agreed = Consensus(4, 0.5, dict.fromkeys(SMALL.edges, 4) | {first: 3}, roles)
    document = json.loads(node_link_json(SMALL, agreed))
    assert [edge["share"] for edge in document["edges"]] == [0.75, *[1.0] * (len(SMALL) - 1)]
    assert {edge["role"] for edge in document["edges"]} == {"necessary"}
    assert from_node_link(document) == SMALL


def changed(**changes: object) -> dict[str, object]:
    document = to_node_link(SMALL)
    for path, value in changes.items():
        place = document
        *parents, last = path.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "graph"),
        (changed(directed=False), "directed multigraph"),
        (changed(edges=[{"source": "input"}]), "not node-link data"),
        (changed(edges=[{"source": "input", "target": "m5", "key": ""}]), "input->m5"),
        (changed(graph__n_layers="1"), "graph.n_layers"),
        (changed(graph__n_layers=True), "graph.n_layers"),
        (changed(graph__parallel=0), "graph.parallel"),
        (changed(graph__version=2), "version 2"),
        (changed(graph__format="other"), "graph.format"),
        (changed(graph__removed_scores=[1]), "graph.removed_scores"),
        (changed(graph__removed_scores={"a0.h0->m0": "x"}), "graph.removed_scores.a0.h0->m0"),
        (changed(graph__removed_scores={"a0.h0": 1.0}), "not an edge"),
        (changed(graph__removed_scores={"m0->logits": 1.0}), "an edge of the circuit"),
        (changed(graph__neurons={}), "graph.neurons"),
        (changed(neurons={}), "unknown key 'neurons'"),
        (changed(nodes=[{"id": "m0", "neurons": [1]}]), "nodes.m0.neurons"),
        (changed(nodes=[{"id": "m0", "layer": 3}]), "nodes.m0.layer"),
        (changed(nodes=[{"id": "m00"}]), "'m00' is not a node"),
        (changed(edges=[{"source": "m00", "target": "logits", "key": ""}]), "'m00->logits' is not"),
        (changed(graph__removed_scores={"a00.h0->m0": 1.0}), "'a00.h0->m0' is not an edge"),
        (changed(nodes=[{"id": "m7"}]), "'m7' is not a node"),
        (changed(edges=[{"source": "m0", "target": "logits", "key": ""}] * 2), "listed twice"),
        (
            changed(edges=[{"source": "m0", "target": "logits", "key": "", "weight": 1}]),
            "edges.m0->logits.weight",
        ),
    ],
)
def test_node_link_document_without_a_circuit_is_a_graph_error(
    document: dict[str, object], message: str
):
    with pytest.raises(GraphError) as caught:
        from_node_link(document)
    assert message in str(caught.value)


def test_node_link_document_from_networkx_without_keys_is_refused():
    graph = nx.MultiDiGraph([("input", "a0.h0")])
    with pytest.raises(GraphError):
        from_node_link(nx.node_link_data(graph, edges="edges"))


def test_node_link_graph_of_different_layers_lists_their_parts():
    circuit = Circuit.of(Topology.of_layers(["rm", "a"], 2), ["input->r0", "r0->a1.h1<v>"])
    document = to_node_link(circuit)
    assert document["graph"]["layers"] == ["rm", "a"]
    assert {"id": "r0", "kind": "mixer", "layer": 0, "head": None} in document["nodes"]


@pytest.mark.parametrize("layers", ["rm", 7, [1, 2], ["rm", "ma"], ["rm"]])
def test_node_link_graph_with_impossible_layers_is_refused(layers: object):
    document = to_node_link(Circuit.of(Topology.of_layers(["rm", "a"], 2), ["input->r0"]))
    document["graph"]["layers"] = layers
    with pytest.raises(GraphError, match="layers"):
        from_node_link(document)
