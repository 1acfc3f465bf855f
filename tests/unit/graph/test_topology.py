from __future__ import annotations

import itertools

import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import INPUT, Edge, Node, Topology, head, mlp
from tests.strategies import topologies

GPT2_SMALL = Topology(12, 12, has_mlp=True)


@pytest.mark.parametrize(
    ("topology", "n_edges"),
    [
        # The count EAP-IG and MIB give for GPT-2 small.
        (GPT2_SMALL, 32_491),
        # Attention only, 8 heads: 24 receivers a layer, each seeing 1 + 8l sources, and the
        # logits, which see all: 24 * (1 + 9 + 17 + 25) + 33 and 24 * (1 + 9) + 17.
        (Topology(4, 8, has_mlp=False), 1_281),
        (Topology(2, 8, has_mlp=False), 257),
        # One layer, one head: q, k, v see the input; the MLP sees input and head; the logits all.
        (Topology(1, 1, has_mlp=True), 3 + 2 + 3),
        # In a parallel block the MLP does not see the head beside it.
        (Topology(1, 1, has_mlp=True, parallel=True), 3 + 1 + 3),
    ],
)
def test_topology_has_the_known_number_of_edges(topology: Topology, n_edges: int):
    assert topology.n_edges == n_edges
    assert len(topology.edges) == n_edges
    assert len(topology.edge_set) == n_edges


def test_topology_sequential_mlp_sees_the_heads_of_its_layer():
    topology = Topology(2, 2, has_mlp=True)
    seen = {str(e.src) for e in topology.edges if e.dst == mlp(1)}
    assert seen == {"input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1"}


def test_topology_parallel_mlp_sees_only_earlier_layers():
    topology = Topology(2, 2, has_mlp=True, parallel=True)
    seen = {str(e.src) for e in topology.edges if e.dst == mlp(1)}
    assert seen == {"input", "a0.h0", "a0.h1", "m0"}


def test_topology_lists_nodes_in_computation_order():
    names = [str(n) for n in Topology(2, 2, has_mlp=True).nodes]
    assert names == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1", "logits"]


@given(topologies())
def test_topology_edges_agree_with_a_definition_by_pairs(topology: Topology):
    expected = set[str]()
    for src, dst in itertools.product(topology.nodes, topology.nodes):
        if reads(topology, src, dst):
            slots = "qkv" if dst.kind == "head" else ("",)
            expected |= {f"{src}->{dst}<{s}>" if s else f"{src}->{dst}" for s in slots}
    assert {str(edge) for edge in topology.edges} == expected


def reads(topology: Topology, src: Node, dst: Node) -> bool:
    """Whether `dst` sees `src`, said once more in other words than the package's."""
    if src.kind == "logits" or dst.kind == "input":
        return False
    if src.kind == "input" or dst.kind == "logits":
        return True
    assert src.layer is not None
    assert dst.layer is not None
    same_block = src.kind == "head" and dst.kind == "mlp" and not topology.parallel
    return src.layer < dst.layer or (same_block and src.layer == dst.layer)


@pytest.mark.parametrize(
    "name",
    ["m1->a1.h0<q>", "a1.h0->a0.h0<v>", "m0->m0", "input->a0.h9<q>", "input->m7"],
)
def test_topology_edge_outside_the_graph_is_refused(name: str):
    with pytest.raises(GraphError) as caught:
        Topology(2, 2, has_mlp=True).check(Edge.parse(name))
    assert name in str(caught.value)
    assert "2 layers x 2 heads" in str(caught.value)


def test_topology_node_outside_the_graph_is_refused():
    with pytest.raises(GraphError):
        Topology(2, 2, has_mlp=False).check(mlp(0))


@pytest.mark.parametrize(("layers", "heads"), [(0, 1), (1, 0), (-1, 4)])
def test_topology_without_layers_or_heads_is_refused(layers: int, heads: int):
    with pytest.raises(GraphError):
        Topology(layers, heads, has_mlp=True)


def test_topology_sources_of_a_first_layer_receiver_are_the_input_alone():
    topology = Topology(3, 2, has_mlp=True)
    receiver = Edge(INPUT, head(0, 1), "v").receiver
    assert topology.sources_of(receiver) == (INPUT,)
