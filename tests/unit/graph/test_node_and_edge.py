from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import INPUT, LOGITS, Edge, Node, Receiver, head, mixer, mlp
from tests.strategies import topologies


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("input", INPUT),
        ("logits", LOGITS),
        ("a10.h2", head(10, 2)),
        ("m3", mlp(3)),
        ("r12", mixer(12)),
    ],
)
def test_node_name_parses_to_its_node(name: str, node: Node):
    assert Node.parse(name) == node
    assert str(node) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Input",
        "a1",
        "a1.h",
        "a.h1",
        "a1.h1 ",
        "a-1.h0",
        "m",
        "m1.h2",
        "r",
        "r1.h0",
        "r1<q>",
        "m1\n",
        "a١.h0",
        "embed",
    ],
)
def test_node_bad_name_is_a_graph_error(name: str):
    with pytest.raises(GraphError) as caught:
        Node.parse(name)
    assert "a{layer}.h{head}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "edge"),
    [
        ("a0.h1->a5.h3<k>", Edge(head(0, 1), head(5, 3), "k")),
        ("input->m0", Edge(INPUT, mlp(0))),
        ("m3->logits", Edge(mlp(3), LOGITS)),
        ("r2->r3", Edge(mixer(2), mixer(3))),
    ],
)
def test_edge_name_parses_to_its_edge(name: str, edge: Edge):
    assert Edge.parse(name) == edge
    assert str(edge) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "input",
        "input-m0",
        "input->",
        "->m0",
        "input->a0.h0",
        "input->a0.h0<x>",
        "input->a0.h0<q",
        "input->m0<q>",
        "input->logits<v>",
        "m0->input",
        "input->m0->logits",
        "input -> m0",
    ],
)
def test_edge_bad_name_is_a_graph_error(name: str):
    with pytest.raises(GraphError):
        Edge.parse(name)


def test_receiver_of_a_head_without_a_slot_is_refused():
    with pytest.raises(GraphError):
        Receiver(head(0, 0))


@given(topologies(), st.data())
def test_edge_of_any_graph_survives_its_name(topology, data: st.DataObject):
    edge = data.draw(st.sampled_from(topology.edges))
    assert Edge.parse(str(edge)) == edge
