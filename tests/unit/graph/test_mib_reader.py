"""What is exported as EAP-IG graph JSON, read by a reader that was written for this test alone."""

from __future__ import annotations

import json

from hypothesis import given

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.mib import from_mib, mib_json
from tests.oracles.eap_ig_graph import EapIgGraph, read_eap_ig
from tests.strategies import circuits


def places(graph: EapIgGraph, circuit: Circuit) -> set[tuple[int, int]]:
    """Rows and columns of a circuit's edges."""
    return {graph.place(str(edge)) for edge in circuit.edges}


@given(circuits())
def test_export_read_by_an_independent_reader_is_the_same_circuit(circuit: Circuit):
    graph = read_eap_ig(mib_json(circuit, d_model=8))
    assert set(zip(*graph.edges.nonzero(), strict=True)) == places(graph, circuit)
    named = {graph.source(str(node)) for node in circuit.nodes if str(node) != "logits"}
    assert set(graph.nodes.nonzero()[0]) == named
    for edge in circuit.topology.edges:
        assert graph.scores[graph.place(str(edge))] == circuit.scores.get(edge, 0.0)


@given(circuits())
def test_export_pruned_by_its_reader_leaves_the_edges_on_paths(circuit: Circuit):
    graph = read_eap_ig(mib_json(circuit, d_model=8))
    live = Circuit(circuit.topology, circuit.live_edges, circuit.scores)
    assert set(zip(*graph.pruned().nonzero(), strict=True)) == places(graph, live)


def test_export_of_a_whole_model_has_every_edge_that_the_reader_knows():
    for parallel in (False, True):
        topology = Topology(2, 3, has_mlp=True, parallel=parallel)
        graph = read_eap_ig(mib_json(Circuit(topology, topology.edge_set, {}), d_model=8))
        assert (graph.edges == graph.real()).all()
        assert (graph.pruned() == graph.real()).all()


def test_file_of_others_is_read_as_the_independent_reader_reads_it():
    # By hand: one layer of two heads, its MLP parallel; scores may be whole numbers.
    edges = {
        "input->a0.h1<v>": {"score": 2, "in_graph": True},
        "a0.h1->logits": {"score": -0.5, "in_graph": True},
        "input->m0": {"score": 0.0, "in_graph": False},
    }
    text = json.dumps(
        {
            "cfg": {"n_layers": 1, "n_heads": 2, "parallel_attn_mlp": True, "d_model": 4},
            "nodes": {
                "input": {"in_graph": True},
                "a0.h0": {"in_graph": False},
                "a0.h1": {"in_graph": True},
                "m0": {"in_graph": False},
                "logits": {"in_graph": True},
            },
            "edges": edges,
        }
    )
    theirs, ours = read_eap_ig(text), from_mib(json.loads(text))
    assert set(zip(*theirs.edges.nonzero(), strict=True)) == places(theirs, ours)
    # Columns: two heads' q, two k, two v, the MLP, the logits.
    assert places(theirs, ours) == {(0, 5), (2, 7)}
    assert {str(edge): score for edge, score in ours.scores.items()} == {
        name: edge["score"] for name, edge in edges.items()
    }
