"""Graphs in which experts are nodes: names, order, paths through a router, and files."""

from __future__ import annotations

import io
import json

import networkx as nx
import pytest

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.export import circuit_dot, circuit_graphml
from acdc_pipeline.graph.mib import to_mib
from acdc_pipeline.graph.node import Node, router_of
from acdc_pipeline.graph.node_link import from_node_link, node_link_json
from acdc_pipeline.graph.search_order import receivers_backwards, sources_backwards

# Layer 0 has a dense MLP, layer 1 two experts and something beside them.
GRAPH = Topology(2, 1, has_mlp=True, experts=(0, 2), shared=(1,))


def test_experts_come_after_the_heads_of_their_layer():
    names = "input a0.h0 m0 a1.h0 m1.e0 m1.e1 m1.shared"
    assert " ".join(map(str, GRAPH.sources)) == names
    assert " ".join(map(str, GRAPH.nodes)) == f"{names} m1.router logits"
    receivers = "m1.router m1.e0 m1.e1 m1.shared logits"
    assert " ".join(map(str, GRAPH.receivers[-5:])) == receivers


def test_experts_and_their_router_read_the_heads_of_their_layer_but_not_each_other():
    for name in ("m1.router", "m1.e0", "m1.shared"):
        assert f"a1.h0->{name}" in Circuit.full(GRAPH)
        with pytest.raises(GraphError):
            GRAPH.edge_of(f"m1.e1->{name}")
    parallel = Topology(2, 1, has_mlp=True, parallel=True, experts=(0, 2))
    with pytest.raises(GraphError):
        parallel.edge_of("a1.h0->m1.router")


def test_a_router_writes_nothing():
    with pytest.raises(GraphError, match=r"m1\.router->logits"):
        GRAPH.check(Edge.parse("m1.router->logits"))


@pytest.mark.parametrize("name", ["m3.e7", "m0.router", "m12.shared"])
def test_names_of_experts_are_read_as_they_are_written(name: str):
    assert str(Node.parse(name)) == name


@pytest.mark.parametrize("name", ["m3.e", "m3.x1", "m.e1", "m3.router1", "a3.e1", "m3.e1.e2"])
def test_other_names_are_refused(name: str):
    with pytest.raises(GraphError, match="is not a node"):
        Node.parse(name)


def test_only_experts_have_a_router():
    assert router_of(Node.parse("m1.e1")) == Node.parse("m1.router")
    assert [router_of(Node.parse(name)) for name in ("m1", "m1.shared", "a1.h0")] == [None] * 3


def test_search_visits_the_router_after_its_experts():
    backwards = [str(receiver) for receiver in receivers_backwards(GRAPH, "reverse-heads")]
    assert backwards[:6] == ["logits", "m1.shared", "m1.e1", "m1.e0", "m1.router", "a1.h0<v>"]
    natural = [str(receiver) for receiver in receivers_backwards(GRAPH, "natural")]
    assert natural[1:5] == ["m1.shared", "m1.e0", "m1.e1", "m1.router"]
    logits = GRAPH.receivers[-1]
    sources = [str(node) for node in sources_backwards(GRAPH, logits, "natural")]
    assert sources[:4] == ["m1.shared", "m1.e0", "m1.e1", "a1.h0"]


def test_an_edge_into_a_router_is_on_a_path_if_an_expert_is_read():
    with_reader = Circuit.of(GRAPH, ["input->m1.router", "m1.e1->logits"])
    assert with_reader.live_edges == with_reader.edges
    without = Circuit.of(GRAPH, ["input->m1.router", "m1.shared->logits"])
    assert not without.live_edges


def test_files_carry_experts_and_say_where_they_cannot():
    circuit = Circuit.of(GRAPH, ["input->m1.router", "a0.h0->m1.e1", "m1.e1->logits"])
    document = json.loads(node_link_json(circuit))
    assert document["graph"]["experts"] == [0, 2]
    assert document["graph"]["shared"] == [1]
    assert from_node_link(document) == circuit
    read = nx.read_graphml(io.BytesIO(circuit_graphml(circuit).encode()))
    assert (read.graph["experts"], read.graph["shared"]) == ("0 2", "1")
    assert read.nodes["m1.e1"] == {"kind": "expert", "layer": 1, "head": 1}
    assert '"m1.router"' in circuit_dot(circuit)
    with pytest.raises(GraphError, match="experts as nodes"):
        to_mib(circuit, d_model=4)


@pytest.mark.parametrize(
    ("experts", "shared", "field"),
    [
        ((2,), (), "experts"),
        ((0, 2), (0,), "shared"),
        ((0, -1), (), "experts"),
        ((0, 200_000), (), "experts"),
        ((), (1,), "shared"),
    ],
)
def test_experts_that_no_graph_has_are_refused(
    experts: tuple[int, ...], shared: tuple[int, ...], field: str
):
    with pytest.raises(GraphError) as caught:
        Topology.from_dict(
            {"n_layers": 2, "n_heads": 1, "has_mlp": True, "experts": experts, "shared": shared}
        )
    assert caught.value.field == field


def test_experts_of_layers_without_an_mlp_are_refused():
    with pytest.raises(GraphError, match="without an MLP"):
        Topology(1, 1, has_mlp=False, experts=(2,))


def test_graphs_say_what_their_experts_are():
    assert str(GRAPH) == ("2 layers x 1 head, MLPs, 2 experts in 1 layer (with a shared part in 1)")
    assert repr(GRAPH).endswith("experts=(0, 2), shared=(1,))")
    assert Topology(2, 1, has_mlp=True, experts=(0, 0)) == Topology(2, 1, has_mlp=True)
