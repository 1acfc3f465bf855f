"""Circuits as sets of edges: operators, removal of edges, membership, iteration."""

from __future__ import annotations

import operator
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology

TOPOLOGY = Topology(2, 2, has_mlp=True)


def drawn(seed: int) -> Circuit:
    draw = Random(seed)
    scores = {edge: draw.random() for edge in TOPOLOGY.edges}
    return Circuit.of(TOPOLOGY, [e for e in TOPOLOGY.edges if draw.random() < 0.5], scores)


@pytest.mark.parametrize("operation", [operator.or_, operator.and_, operator.sub])
def test_circuits_combine_as_the_sets_of_their_edges(operation: Callable[[Any, Any], Any]):
    a, b = drawn(0), drawn(1)
    combined = operation(a, b)
    assert combined.edges == operation(set(a.edges), set(b.edges))
    assert type(combined) is Circuit
    assert combined.scores == {edge: a.scores[edge] for edge in combined.edges}


def test_union_leaves_edges_without_a_score_of_the_left_circuit_unscored():
    a = Circuit.of(TOPOLOGY, ["m0->logits"], {Edge.parse("m0->logits"): 1.0})
    b = Circuit.of(TOPOLOGY, ["m1->logits"], {Edge.parse("m1->logits"): 5.0})
    assert (a | b).scores == {Edge.parse("m0->logits"): 1.0}


@pytest.mark.parametrize("operation", [operator.or_, operator.and_, operator.sub])
def test_circuits_of_different_graphs_do_not_combine(operation: Callable[[Any, Any], Any]):
    other = Circuit.full(Topology(2, 3, has_mlp=False))
    with pytest.raises(GraphError) as caught:
        operation(drawn(0), other)
    assert "2 layers x 2 heads, MLPs" in str(caught.value)
    assert "2 layers x 3 heads, no MLPs" in str(caught.value)


def test_circuit_and_a_plain_set_do_not_combine():
    mixed: Any = 5
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = drawn(0) | mixed


@pytest.mark.parametrize(
    "given",
    [
        "m0->logits",
        Edge.parse("m0->logits"),
        ["m0->logits"],
        Circuit.of(TOPOLOGY, ["m0->logits"]),
        (Edge.parse(name) for name in ["m0->logits"]),
    ],
    ids=["name", "edge", "names", "circuit", "iterator"],
)
def test_circuit_without_an_edge_keeps_the_others(given: Any):
    names = ["input->a0.h0<v>", "a0.h0->logits", "m0->logits"]
    left = Circuit.of(TOPOLOGY, names).without(given)
    assert [str(edge) for edge in left] == names[:2]


def test_circuit_without_edges_that_it_does_not_keep_is_the_same():
    circuit = Circuit.of(TOPOLOGY, ["m0->logits"])
    assert circuit.without(["m1->logits", "input->m0"]) == circuit


@pytest.mark.parametrize(
    ("wrong", "says", "nearest"),
    [
        ("a0.h0->a1.h5<v>", "is not an edge of this graph", "a0.h0->a1.h0<v>"),
        ("a0.h11->a1.h0<k>", "is not an edge of this graph", "a0.h1->a1.h0<k>"),
        ("a0.h0->a1.h0", "'a1.h0' is not a receiver", "a0.h0->a1.h0<q>"),
        ("m0->logit", "'logit' is not a node", "m0->logits"),
        ("m0", "'m0' is not an edge", None),
    ],
)
def test_unknown_edge_is_refused_with_the_nearest(wrong: str, says: str, nearest: str | None):
    full = Circuit.full(TOPOLOGY)
    for refuse in (full.without, full.__contains__, lambda name: Circuit.of(TOPOLOGY, [name])):
        with pytest.raises(GraphError) as caught:
            refuse(wrong)
        assert f"'{wrong}'" in str(caught.value)
        assert says in str(caught.value)
        assert (f"did you mean '{nearest}'?" in str(caught.value)) == (nearest is not None)


def test_circuit_has_length_membership_and_the_graphs_order():
    circuit = Circuit.of(TOPOLOGY, ["m0->logits", "input->m0"])
    assert len(circuit) == 2
    assert [str(edge) for edge in circuit] == ["input->m0", "m0->logits"]
    assert "input->m0" in circuit
    assert Edge.parse("input->m0") in circuit
    assert "input->m1" not in circuit
    assert Edge.parse("input->m9") not in circuit


def test_circuit_shows_itself_as_a_picture_in_a_notebook():
    circuit = Circuit.of(TOPOLOGY, ["m0->logits", "input->m0"])
    assert circuit._repr_svg_() == circuit.draw().svg
    assert "2 of 46 edges kept" in circuit._repr_svg_()


@pytest.mark.parametrize(
    "edges", ["m0->logits", Edge.parse("m0->logits"), {Edge.parse("m0->logits")}, ["m0->logits"]]
)
def test_operators_refuse_edges_and_name_what_takes_them(edges: Any):
    with pytest.raises(GraphError, match=r"circuit\.without\(edges\)"):
        _ = drawn(0) - edges
    with pytest.raises(GraphError, match=r"Circuit\.of\(circuit\.topology, edges\)"):
        _ = drawn(0) | edges


def test_edges_may_be_pairs_of_names():
    circuit = Circuit.of(TOPOLOGY, [("m0", "logits"), ("a0.h1", "m1"), ("input", "a0.h0<v>")])
    assert {str(e) for e in circuit} == {"m0->logits", "a0.h1->m1", "input->a0.h0<v>"}
    assert len(circuit.without([("m0", "logits")])) == 2
    with pytest.raises(GraphError, match="'m0->logit' is not an edge"):
        Circuit.of(TOPOLOGY, [("m0", "logit")])
