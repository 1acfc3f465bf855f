"""Graphs whose edges live in spans: names, edges, paths, cuts and files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Receiver, Topology
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.graph.export import circuit_graphml
from acdc_pipeline.graph.flow import flow_of
from acdc_pipeline.graph.mib import to_mib
from acdc_pipeline.graph.node_link import from_node_link, to_node_link
from acdc_pipeline.graph.search_order import receivers_backwards
from acdc_pipeline.store.codec import json_bytes
from acdc_pipeline.store.tables import circuit_from, edges_table

GRAPH = Topology(
    n_layers=1,
    n_heads=1,
    has_mlp=True,
    spans=("S", "END"),
    answer_spans=("END",),
    sees=("S", "S END"),
)

# One path: the key at S is read by the query at END, whose head writes at END.
PATH = ("input->a0.h0<k>@S", "a0.h0->logits@END")


def test_edges_are_those_of_every_span_and_of_the_logits_where_answers_are():
    expected = {
        f"{source}->{receiver}@{span}"
        for receiver, sources in [
            *((f"a0.h0<{slot}>", ["input"]) for slot in "qkv"),
            ("m0", ["input", "a0.h0"]),
        ]
        for source in sources
        for span in ("S", "END")
    } | {f"{source}->logits@END" for source in ("input", "a0.h0", "m0")}
    assert {str(edge) for edge in GRAPH.edges} == expected
    assert GRAPH.n_edges == len(expected)


@pytest.mark.parametrize("edge", GRAPH.edges)
def test_edge_is_read_back_from_its_name(edge: Edge):
    assert Edge.parse(str(edge)) == edge
    assert GRAPH.edge_of(str(edge)) == edge


@pytest.mark.parametrize(
    "name", ["input->m0", "input->m0@S2", "input->logits@S", "input->m0@", "input->m0@S@S"]
)
def test_edge_without_a_span_of_the_graph_is_refused(name: str):
    with pytest.raises(GraphError, match="input->"):
        GRAPH.edge_of(name)


def test_receivers_are_visited_from_the_last_span_to_the_first():
    visited = [str(receiver) for receiver in receivers_backwards(GRAPH, "reverse-heads")]
    assert visited == [
        "logits@END",
        *("m0@END", "m0@S", "a0.h0<v>@END", "a0.h0<v>@S", "a0.h0<k>@END", "a0.h0<k>@S"),
        *("a0.h0<q>@END", "a0.h0<q>@S"),
    ]


def test_keys_count_for_later_queries_and_queries_for_their_own_span():
    assert Circuit.of(GRAPH, PATH).live_edges == set(map(Edge.parse, PATH))
    # The query at S does not write at END, and a key at END is not seen from S.
    for broken in (
        ("input->a0.h0<q>@S", "a0.h0->logits@END"),
        ("input->m0@S", "m0->logits@END"),
        ("input->a0.h0<k>@END", "a0.h0->m0@S", "m0->logits@END"),
    ):
        assert Circuit.of(GRAPH, broken).live_edges == frozenset()


def test_cut_takes_edges_on_a_path_alone():
    scores = dict.fromkeys(GRAPH.edges, 0.1)
    scores |= {Edge.parse(name): 5.0 for name in PATH}
    scores[Edge.parse("input->a0.h0<q>@S")] = 9.0
    found = cut(GRAPH, scores, edges=2, rank="signed")
    assert {str(edge) for edge in found.edges} == set(PATH)


@pytest.mark.parametrize("topology", [GRAPH, GRAPH.collapsed, replace(GRAPH, n_layers=3)])
def test_edges_that_can_reach_an_answer_are_counted(topology: Topology):
    assert flow_of(topology).n_live == len(Circuit.full(topology).live_edges)


def test_edges_that_nothing_reads_later_reach_no_answer():
    # at S: the query, and both edges into the MLP
    assert GRAPH.n_edges - flow_of(GRAPH).n_live == 3


def test_collapse_is_the_circuit_over_components():
    names = ("input->m0@S", "input->m0@END", "m0->logits@END")
    scores = dict(zip(map(Edge.parse, names), (1.0, 2.0, 4.0), strict=True))
    circuit = Circuit.of(GRAPH, names, scores)
    whole = circuit.collapse()
    assert whole.topology == Topology(1, 1, True)
    assert {str(edge): whole.scores[edge] for edge in whole.edges} == {
        "input->m0": 3.0,
        "m0->logits": 4.0,
    }
    assert whole.collapse() is whole


@pytest.mark.parametrize("operation", ["__or__", "__and__", "__sub__", "compare"])
def test_circuits_of_different_spans_are_refused_with_collapse(operation: str):
    kept = Circuit.of(GRAPH, PATH)
    other = Circuit.of(GRAPH.collapsed, ["input->m0"])
    for one, two in [(kept, other), (other, kept)]:
        with pytest.raises(GraphError, match="of one model in different spans") as refused:
            getattr(one, operation)(two)
        assert "S, END" in refused.value.problem
        assert "circuit.collapse()" in str(refused.value.fix)
    getattr(kept.collapse(), operation)(other)


def test_circuit_is_read_back_from_its_files():
    circuit = Circuit.of(GRAPH, PATH, {edge: float(i) for i, edge in enumerate(GRAPH.edges)})
    document = json.loads(json_bytes(to_node_link(circuit)))
    assert from_node_link(document) == circuit
    table = edges_table("0" * 20, circuit)
    assert table.schema.names[table.schema.get_field_index("dst_slot") + 1] == "span"
    assert circuit_from(table, GRAPH) == circuit
    assert circuit.to_networkx().has_edge("input", "a0.h0", ("k", "S"))
    assert circuit_graphml(circuit).count("END") > 0
    assert sum(e["in_graph"] for e in to_mib(circuit, d_model=4)["edges"].values()) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spans": ("S", "S")}, "spans"),
        ({"spans": ("S", "a b")}, "spans"),
        ({"answer_spans": ("X",)}, "answer_spans"),
        ({"answer_spans": ()}, "answer_spans"),
        ({"sees": ("S",)}, "sees"),
        ({"sees": ("S", "S")}, "sees"),
        ({"spans": ()}, "spans"),
    ],
)
def test_spans_that_contradict_one_another_are_refused(change: dict, field: str):
    with pytest.raises(GraphError) as error:
        Topology.from_dict({**GRAPH.as_dict(), **change})
    assert error.value.field == field


def test_receiver_in_a_span_has_its_name():
    assert str(Receiver.parse("a0.h0<k>@S1+1")) == "a0.h0<k>@S1+1"
    assert Receiver.parse("a0.h0<k>@S1+1").span == "S1+1"
