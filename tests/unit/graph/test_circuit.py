from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from tests.strategies import circuits

TWO_LAYERS = Topology(2, 2, has_mlp=False)


def test_circuit_keeps_edges_in_the_graphs_order_whatever_order_they_came_in():
    names = ["a1.h0->logits", "input->a0.h1<v>", "a0.h1->a1.h0<k>"]
    circuit = Circuit.of(TWO_LAYERS, names)
    assert [str(e) for e in circuit.sorted_edges] == [names[1], names[2], names[0]]
    assert [str(n) for n in circuit.nodes] == ["input", "a0.h1", "a1.h0", "logits"]


def test_circuit_strongest_edges_are_those_of_the_highest_scores_and_unscored_ones_come_last():
    names = ["input->a0.h1<v>", "a0.h1->a1.h0<k>", "a1.h0->logits"]
    scores = {Edge.parse(names[0]): -3.0, Edge.parse(names[2]): 0.5}
    removed = {Edge.parse("a0.h0->logits"): 9.0}
    circuit = Circuit.of(TWO_LAYERS, names, scores | removed)
    assert [str(e) for e in circuit.strongest()] == [names[2], names[0], names[1]]
    assert [str(e) for e in circuit.strongest(1)] == [names[2]]
    by_magnitude = circuit.strongest(rank="magnitude")
    assert [str(e) for e in by_magnitude] == [names[0], names[2], names[1]]


def test_circuit_live_edges_leave_out_what_does_not_join_input_and_logits():
    joined = ["input->a0.h0<v>", "a0.h0->logits"]
    dangling = ["input->a1.h1<q>", "a0.h1->logits", "a0.h1->a1.h0<k>"]
    circuit = Circuit.of(TWO_LAYERS, joined + dangling)
    assert circuit.live_edges == {Edge.parse(name) for name in joined}


@pytest.mark.parametrize("spans", [(), ("S", "END")])
def test_circuit_pairs_count_slots_and_spans_once(spans: tuple[str, ...]):
    topology = Topology(
        2, 2, has_mlp=True, spans=spans, answer_spans=spans[1:], sees=("S", "S END")[: len(spans)]
    )
    edges = frozenset(e for e in topology.edges if str(e).startswith("a0.h0->"))
    # of m0, the two heads of layer 1, m1 and the logits, whatever the slots and spans
    assert Circuit(topology, edges).n_pairs == 5
    # input and a0.h* into what comes after them in the layer, and so on
    by_hand = 2 * 1 + 3 + 2 * 4 + 6 + 7
    assert Circuit.full(topology).n_pairs == Circuit.full(topology).n_pairs_total == by_hand


def test_circuit_with_an_edge_of_another_graph_is_refused():
    with pytest.raises(GraphError):
        Circuit.of(TWO_LAYERS, ["input->m0"])


def test_circuit_with_a_score_of_another_graph_is_refused():
    with pytest.raises(GraphError):
        Circuit.of(TWO_LAYERS, [], {Edge.parse("input->a5.h0<q>"): 1.0})


def test_circuit_full_keeps_every_edge():
    circuit = Circuit.full(TWO_LAYERS)
    assert len(circuit) == TWO_LAYERS.n_edges
    assert circuit.live_edges == circuit.edges


@given(circuits())
def test_circuit_survives_pickling(circuit: Circuit):
    assert pickle.loads(pickle.dumps(circuit)) == circuit
