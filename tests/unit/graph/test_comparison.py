from __future__ import annotations

import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Topology
from tests.strategies import circuits

TWO_LAYERS = Topology(2, 2, has_mlp=True)
A = Circuit.of(TWO_LAYERS, ["input->a0.h0<v>", "a0.h0->logits", "m0->logits"])
B = Circuit.of(TWO_LAYERS, ["m1->logits", "input->a0.h0<v>"])


def test_comparison_names_edges_and_nodes_in_the_graphs_order():
    found = A.compare(B)
    assert [str(edge) for edge in found.edges.both] == ["input->a0.h0<v>"]
    assert [str(edge) for edge in found.edges.only_a] == ["a0.h0->logits", "m0->logits"]
    assert [str(edge) for edge in found.edges.only_b] == ["m1->logits"]
    assert [str(node) for node in found.nodes.both] == ["input", "a0.h0", "logits"]
    assert ([str(n) for n in found.nodes.only_a], [str(n) for n in found.nodes.only_b]) == (
        ["m0"],
        ["m1"],
    )


def test_comparison_measures_are_those_computed_by_hand():
    found = A.compare(B)
    assert found.edges.counts == (2, 1, 1)
    assert found.jaccard == 1 / 4
    assert (found.precision, found.recall) == (1 / 3, 1 / 2)
    assert found.nodes.jaccard == 3 / 5
    assert repr(found) == (
        "<comparison: 1 edge in both, 2 only in A, 1 only in B, "
        "Jaccard 0.250 of edges, 0.600 of nodes>"
    )


def test_comparison_with_an_empty_circuit_has_no_precision_or_recall():
    empty = Circuit.of(TWO_LAYERS, [])
    assert (A.compare(empty).precision, A.compare(empty).recall) == (0.0, None)
    assert (empty.compare(A).precision, empty.compare(A).recall) == (None, 0.0)
    assert empty.compare(empty).jaccard == 1.0


@given(circuits())
def test_comparison_with_itself_finds_no_difference(circuit: Circuit):
    found = circuit.compare(circuit)
    assert (found.jaccard, found.edges.only_a, found.edges.only_b) == (1.0, (), ())


def test_comparison_draws_the_counts_of_edges_and_nodes():
    svg = A.compare(B)._repr_svg_()
    assert "2 | 1 | 1 edges" in svg
    assert "1 | 3 | 1 nodes" in svg


def test_comparison_of_circuits_of_different_graphs_is_refused_naming_both():
    other = Circuit.of(Topology(1, 2, has_mlp=False, parallel=True), [])
    with pytest.raises(GraphError) as caught:
        A.compare(other)
    assert "2 layers x 2 heads, MLPs; and 1 layer x 2 heads, no MLPs, parallel blocks" in str(
        caught.value
    )
