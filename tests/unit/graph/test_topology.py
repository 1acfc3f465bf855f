from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import INPUT, LOGITS, Edge, Node, Receiver, Topology, head, mixer, mlp
from tests.strategies import layered_topologies, topologies

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


@given(topologies() | layered_topologies())
def test_topology_edges_agree_with_a_definition_by_pairs(topology: Topology):
    expected = set[str]()
    for src, dst in itertools.product(topology.nodes, topology.nodes):
        if reads(topology, src, dst):
            slots = "qkv" if dst.kind == "head" else ("",)
            expected |= {f"{src}->{dst}<{s}>" if s else f"{src}->{dst}" for s in slots}
    assert {str(edge) for edge in topology.edges} == expected


def reads(topology: Topology, src: Node, dst: Node) -> bool:
    """Whether `dst` sees `src`, said once more in other words than the package's."""
    if src.kind in ("logits", "router") or dst.kind == "input":
        return False
    if src.kind == "input" or dst.kind == "logits":
        return True
    assert src.layer is not None
    assert dst.layer is not None
    of_mlp = str(dst).startswith("m")
    same_block = src.kind in ("head", "mixer") and of_mlp and not topology.parallel
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


HYBRID = Topology.of_layers(["rm", "a", "arm"], 1)


def test_topology_of_different_layers_lists_nodes_in_computation_order():
    names = [str(node) for node in HYBRID.nodes]
    assert names == ["input", "r0", "m0", "a1.h0", "a2.h0", "r2", "m2", "logits"]


def test_topology_of_different_layers_has_the_edges_counted_by_hand():
    # r0 reads input; m0 reads input and r0; q, k, v of a1.h0 read the 3 before; those of a2.h0 and
    # r2 the 4 before; m2 these, a2.h0 and r2; the logits all 7.
    assert HYBRID.n_edges == 1 + 2 + 3 * 3 + 3 * 4 + 4 + 6 + 7
    names = {str(edge) for edge in HYBRID.edges}
    assert {"input->r0", "a1.h0->r2", "r2->m2", "r0->logits", "r0->a1.h0<k>"} <= names
    assert not {"a2.h0->r2", "r2->a2.h0<q>", "r0->r0", "m0->r0"} & names


def test_topology_parallel_layer_has_mixer_heads_and_mlp_side_by_side():
    topology = Topology.of_layers(["arm"], 2, parallel=True)
    assert {str(edge.src) for edge in topology.edges if edge.dst != LOGITS} == {"input"}


def plain_sources(topology: Topology, layers: tuple[str, ...]) -> list[str]:
    """The names of the sources, one after the other."""
    out = ["input"]
    for layer, parts in enumerate(layers):
        for letter in parts:
            n_experts = topology.experts[layer] if topology.experts else 0
            if letter == "a":
                out += [f"a{layer}.h{index}" for index in range(topology.n_heads)]
            elif letter == "m" and n_experts:
                out += [f"m{layer}.e{index}" for index in range(n_experts)]
                out += [f"m{layer}.shared"] * (layer in topology.shared)
            else:
                out.append(f"{letter}{layer}")
    return out


@given(topologies() | layered_topologies())
def test_topology_tables_agree_with_a_plain_list_of_nodes(topology: Topology):
    layers = tuple(topology.parts(layer) for layer in range(topology.n_layers))
    expected = plain_sources(topology, layers)
    assert [str(source) for source in topology.sources] == expected
    for layer in range(topology.n_layers):
        own = [i for i, name in enumerate(expected) if name[1:].split(".")[0] == str(layer)]
        assert topology.first_source(layer) == own[0]
        heads = [i for i in own if expected[i].startswith("a")]
        assert list(topology.head_sources(layer)) == heads
        assert [str(node) for node in topology.heads(layer)] == [expected[i] for i in heads]
        mixers = [i for i in own if expected[i].startswith("r")]
        assert topology.mixer_source(layer) == (mixers[0] if mixers else None)
        of_mlp = [i for i in own if expected[i].startswith("m")]
        assert list(topology.mlp_sources(layer)) == of_mlp
        assert [str(node) for node in topology.mlp_nodes(layer)] == [expected[i] for i in of_mlp]
        singles = [i for i in mixers + of_mlp if "." not in expected[i]]
        assert [str(node) for node in topology.single_nodes(layer)] == [
            expected[i] for i in singles
        ]
    assert topology.first_source(topology.n_layers) == len(expected)
    n_heads = sum(name.startswith("a") for name in expected)
    assert topology.n_heads_total == n_heads
    assert len(topology.layers_with_heads) * topology.n_heads == n_heads
    n_routers = sum(count > 0 for count in topology.experts)
    assert len(topology.routers) == n_routers
    assert len(topology.receivers) == 3 * n_heads + (len(expected) - 1 - n_heads) + n_routers + 1


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("parts", ["a", "am"])
def test_topology_layers_that_are_all_alike_are_those_of_a_uniform_graph(
    parts: str, parallel: bool
):
    topology = Topology.of_layers([parts] * 3, 2, parallel=parallel)
    uniform = Topology(3, 2, has_mlp="m" in parts, parallel=parallel)
    assert topology == uniform
    assert hash(topology) == hash(uniform)
    assert topology.layers == ()
    assert topology.as_dict() == {
        "n_layers": 3, "n_heads": 2, "has_mlp": "m" in parts, "parallel": parallel
    }  # fmt: skip


@given(topologies() | layered_topologies())
def test_topology_dictionary_round_trip_is_exact(topology: Topology):
    assert Topology.from_dict(json.loads(json.dumps(topology.as_dict()))) == topology


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((1, 2, True, False, ("ma",)), "layers.0"),
        ((2, 2, True, False, ("am", "x")), "layers.1"),
        ((1, 2, False, False, ("",)), "layers.0"),
        ((3, 2, True, False, ("am", "rm")), "layers"),
        ((1, 2, False, False, ("r",)), "n_heads"),
        ((1, 0, False, False, ("a",)), "n_heads"),
        ((2, 2, False, False, ("am", "a")), "has_mlp"),
        ((2, 2, True, False, ("a", "ar")), "has_mlp"),
    ],
)
def test_topology_with_impossible_layers_is_refused(
    arguments: tuple[int, int, bool, bool, tuple[str, ...]], field: str
):
    with pytest.raises(GraphError) as caught:
        Topology(*arguments)
    assert caught.value.field == field


def test_topology_of_mixers_alone_has_no_heads():
    topology = Topology.of_layers(["r", "rm"], 0)
    assert [str(receiver) for receiver in topology.receivers] == ["r0", "r1", "m1", "logits"]
    assert topology.layers_with_heads == ()
    assert topology.n_sources_of(Receiver(mixer(1))) == 2


def test_topology_of_different_layers_says_what_they_are():
    assert str(Topology.of_layers(["rm", "rm", "am"], 4)) == (
        "3 layers of the parts 2 x rm, am (a: 4 heads, r: mixer, m: MLP)"
    )
