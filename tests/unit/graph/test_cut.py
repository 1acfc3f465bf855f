"""Circuits cut from scores: by hand, and against the plainest form of the same rule."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.cut import Rank, cut
from acdc_pipeline.graph.selection import Selection
from tests.strategies import layered_topologies, scores, topologies

# One head a layer: input -> a0 -> a1 -> logits, and every shortcut.
CHAIN = Topology(2, 1, has_mlp=False)


def named(circuit: Circuit) -> set[str]:
    return {str(edge) for edge in circuit.edges}


def scored(**by_name: float) -> dict[Edge, float]:
    """All edges of `CHAIN`, 0 where not named; `__` stands for the arrow and `_q` for the slot."""
    return {edge: float(by_name.get(_key(edge), 0)) for edge in CHAIN.edges}


def _key(edge: Edge) -> str:
    slot = f"_{edge.slot}" if edge.slot else ""
    return f"{edge.src}__{edge.dst}{slot}".replace(".h0", "")


def test_cut_takes_the_best_edges_that_lead_on():
    best = scored(a1__logits=5, a0__a1_v=4, input__a0_q=3, input__a1_k=2, input__logits=1)
    assert named(cut(CHAIN, best, edges=3, rank="signed")) == {
        "a1.h0->logits", "a0.h0->a1.h0<v>", "input->a0.h0<q>",
    }  # fmt: skip
    assert named(cut(CHAIN, best, edges=5, rank="signed")) == {
        "a1.h0->logits", "a0.h0->a1.h0<v>", "input->a0.h0<q>", "input->a1.h0<k>", "input->logits",
    }  # fmt: skip


def test_cut_best_edge_into_a_node_that_leads_nowhere_waits_for_its_way_out():
    best = scored(input__a0_q=9, input__logits=2, a0__logits=1)
    assert named(cut(CHAIN, best, edges=1, rank="signed")) == {"input->logits"}
    # a0's way out and its way in come together: with two edges neither is there yet
    assert named(cut(CHAIN, best, edges=2, rank="signed")) == {"input->logits"}


def test_cut_node_without_a_parent_is_left_out():
    best = scored(a1__logits=9, a0__logits=8, input__logits=1)
    assert named(cut(CHAIN, best, edges=1, rank="signed")) == {"input->logits"}


def test_cut_shorter_than_the_shortest_path_is_empty():
    best = scored(a1__logits=9, input__a1_q=8)
    del best[Edge.parse("input->logits")]
    assert named(cut(CHAIN, best, edges=1, rank="signed")) == set()
    assert named(cut(CHAIN, best, edges=2, rank="signed")) == {"a1.h0->logits", "input->a1.h0<q>"}


def test_cut_by_magnitude_keeps_what_hurts_too():
    best = scored(input__logits=1, a0__logits=-2, input__a0_v=-3)
    assert "a0.h0->logits" in named(cut(CHAIN, best, edges=3, rank="magnitude"))
    assert "a0.h0->logits" not in named(cut(CHAIN, best, edges=3, rank="signed"))


def test_cut_of_equal_scores_takes_edges_in_the_order_of_the_graph():
    assert named(cut(CHAIN, scored(), edges=1, rank="signed")) == {"input->logits"}
    assert cut(CHAIN, scored(), edges=12, rank="signed").edges == CHAIN.edge_set


@pytest.mark.parametrize("edges", [0, -1, 13])
def test_cut_to_a_size_no_circuit_has_is_refused(edges: int):
    assert CHAIN.n_edges == 12
    with pytest.raises(GraphError, match="1 to 12"):
        cut(CHAIN, scored(), edges=edges, rank="signed")


def plain_cut(
    topology: Topology, given_scores: Mapping[Edge, float], edges: int, rank: Rank
) -> frozenset[Edge]:
    """The rule word by word: everything is looked at anew after every edge."""
    worth = {e: abs(s) if rank == "magnitude" else s for e, s in given_scores.items()}
    taken: list[Edge] = []
    best: frozenset[Edge] = frozenset()
    while True:
        reached = {"logits"} | {str(edge.src) for edge in taken}
        # A router leads on through the experts of its layer.
        reached |= {f"{name.split('.')[0]}.router" for name in reached if ".e" in name}
        open_edges = [
            e for e in topology.edges if e in worth and e not in taken and str(e.dst) in reached
        ]
        if not open_edges:
            return best
        taken.append(max(open_edges, key=lambda e: worth[e]))
        live = Circuit.of(topology, taken).live_edges
        if len(live) > edges:
            return best
        best = live


@given(
    data=st.data(),
    topology=topologies() | layered_topologies(),
    rank=st.sampled_from(("magnitude", "signed")),
)
def test_cut_any_scores_is_what_the_plain_rule_gives(
    data: st.DataObject, topology: Topology, rank: Rank
):
    few = st.sampled_from((-2.0, -1.0, 0.0, 0.5, 1.0)) | scores()
    drawn = data.draw(st.dictionaries(st.sampled_from(topology.edges), few, max_size=40))
    size = data.draw(st.integers(1, topology.n_edges))
    circuit = cut(topology, drawn, edges=size, rank=rank)
    assert circuit.edges == plain_cut(topology, drawn, size, rank)
    assert circuit.edges == circuit.live_edges
    assert circuit.scores == drawn
    if size < topology.n_edges:
        assert circuit.edges <= cut(topology, drawn, edges=size + 1, rank=rank).edges


@given(topology=topologies(), data=st.data())
def test_cut_to_the_size_of_the_graph_keeps_all_of_it(topology: Topology, data: st.DataObject):
    drawn = {edge: data.draw(scores()) for edge in topology.edges[:3]}
    every = dict.fromkeys(topology.edges, 0.0) | drawn
    circuit = cut(topology, every, edges=topology.n_edges, rank="magnitude")
    assert circuit.edges == topology.edge_set


def test_least_size_is_the_length_of_the_first_whole_path():
    best = scored(a1__logits=9, a0__a1_v=8, input__a0_q=7)
    least = Selection("signed").least_size(CHAIN, best)
    assert least == 3
    assert len(cut(CHAIN, best, edges=3, rank="signed")) == 3
    assert len(cut(CHAIN, best, edges=2, rank="signed")) == 0
    pathless = {edge: 1.0 for edge in CHAIN.edges if str(edge.src) != "input"}
    assert Selection("signed").least_size(CHAIN, pathless) is None
