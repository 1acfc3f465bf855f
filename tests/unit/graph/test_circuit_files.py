"""What readers of circuit files refuse: by name, and before anything is made of the rest."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given

from acdc_pipeline.errors import GraphError, InvalidInput
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.files.auto_circuit import auto_circuit_scores, read_auto_circuit_scores
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.files.eap_ig_json import read_eap_ig_json
from acdc_pipeline.graph.files.eap_ig_pt import eap_ig_matrices, read_eap_ig_matrices
from acdc_pipeline.graph.files.original_acdc import read_subgraph
from acdc_pipeline.graph.files.score_cut import Cut
from acdc_pipeline.graph.mib import from_mib, to_mib
from acdc_pipeline.workflows.circuit_files import choose_circuit, read_circuit_file
from tests import circuit_files
from tests.circuit_files import NAN, Shape, save
from tests.strategies import circuits

SHAPE = Shape(layers=1, heads=2, width=4)
TOPOLOGY = Topology(1, 2, has_mlp=True)
EDGES = {"input->a0.h1<v>", "a0.h1->m0", "m0->logits"}
SCORES = {edge: float(index) for index, edge in enumerate(SHAPE.edges)}
MASKS = {name: [True, False, True, False] for name in SHAPE.sources}

Change = Callable[[Any], object]


def read(path: Path) -> Circuit:
    return read_circuit_file(path, TOPOLOGY, SHAPE.width).circuit


def put(*path: Any, value: Any) -> Change:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (put("cfg", "n_layers", value=3), ("layers 3, in the model 1",)),
        (put("version", value=1), ("version", "unknown key 'version'")),
        (put("cfg", "d_mlp", value=1), ("cfg.d_mlp", "unknown key")),
        (put("nodes", "m0", "scores", value=1.0), ("nodes.m0.scores", "did you mean 'score'")),
        (put("edges", "a0.h1->m0", "weight", value=1.0), ("edges.a0.h1->m0.weight", "unknown")),
        (put("nodes", "a1.h0", value={"in_graph": True}), ("'a1.h0'", "1 layer x 2 heads")),
        (put("nodes", "m00", value={"in_graph": False}), ("'m00' is not a node", "allowed: m0")),
        (put("nodes", "x", value={"in_graph": True}), ("'x' is not a node",)),
        (put("edges", "m0->a0.h1<v>", value={"score": 1, "in_graph": True}), ("m0->a0.h1<v>",)),
        (put("edges", "a00.h1->m0", value={"score": 1, "in_graph": True}), ("a00.h1->m0",)),
        (put("edges", "a0.h1->m0", "score", value="1"), ("edges.a0.h1->m0.score", "number")),
        (put("edges", "a0.h1->m0", "score", value=float("inf")), ("a0.h1->m0.score", "finite")),
        (put("edges", "a0.h1->m0", "score", value=10**400), ("a0.h1->m0.score", "finite")),
        (put("nodes", "m0", "in_graph", value=1), ("nodes.m0.in_graph",)),
        (put("nodes", "m0", "in_graph", value=False), ("node m0 is not", "in_graph of m0")),
        (put("nodes", "m0", "score", value=None), ("nodes.m0.score",)),
        (put("nodes", "m0", "neurons", value=[True]), ("nodes.m0.neurons", "list of 4")),
        (put("nodes", "m0", "neurons", value=[1, 0, 1, 2]), ("nodes.m0.neurons.3", "true, false")),
        (put("nodes", "logits", "neurons", value=[1, 0, 1, 1]), ("logits have no output",)),
        (drop("nodes", "input", "neurons"), ("nodes.input.neurons", "writes nothing")),
        (drop("cfg", "d_model"), ("cfg.d_model",)),
        (put("cfg", "d_model", value=8), ("neurons", "list of 8")),
        (put("neurons", value={}), ("neurons", "nodes.NAME.neurons")),
        (put("nodes", "m0", "neurons_scores", value=[0, 1, "x", 2]), ("neurons_scores.2",)),
    ],
)
def test_eap_ig_json_that_says_something_else_is_refused_by_name(
    tmp_path: Path, change: Change, parts: tuple[str, ...]
):
    document = circuit_files.eap_ig_json(SHAPE, EDGES, SCORES, MASKS)
    read(save(tmp_path / "whole.json", document))
    change(document)
    with pytest.raises(InvalidInput) as caught:
        read(save(tmp_path / "graph.json", document))
    assert str(caught.value).startswith(str(tmp_path / "graph.json"))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (put("extra", value=1), ("extra", "unknown key")),
        (drop("nodes_in_graph"), ("nodes_in_graph", "missing")),
        (put("cfg", "n_heads", value=3), ("src_nodes",)),
        (put("cfg", "n_heads", value="2"), ("cfg.n_heads",)),
        (put("dst_nodes", 0, value="a0.h0<k>"), ("dst_nodes", "a0.h0<k>")),
        (put("edges_scores", value=torch.zeros(4, 7)), ("edges_scores", "shape (4, 7)", "(4, 8)")),
        (put("edges_scores", 0, 0, value=float("inf")), ("edges_scores", "1 infinite")),
        (
            put("edges_in_graph", value=torch.full((4, 8), 0.5)),
            ("edges_in_graph", "true and false"),
        ),
        (put("nodes_in_graph", 3, value=False), ("node m0 is not",)),
        (put("neurons_in_graph", value=torch.ones(4, 5)), ("neurons_in_graph", "(4, 5)")),
        (put("nodes_scores", value=[1, 2, 3, 4]), ("nodes_scores", "tensor of numbers")),
    ],
)
def test_eap_ig_pt_that_says_something_else_is_refused_by_name(
    tmp_path: Path, change: Change, parts: tuple[str, ...]
):
    contents = circuit_files.eap_ig_pt(SHAPE, EDGES, SCORES, MASKS)
    read(save(tmp_path / "whole.pt", contents))
    change(contents)
    with pytest.raises(InvalidInput) as caught:
        read(save(tmp_path / "graph.pt", contents))
    for part in (str(tmp_path / "graph.pt"), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (put("blocks.0.hook_mlp_in", 1, value=NAN), ("hook_mlp_in", "1 scores are not finite")),
        (put("blocks.1.hook_mlp_in", value=torch.zeros(3)), ("unknown module 'blocks.1.",)),
        (put("seq_labels", value=torch.zeros(3)), ("unknown module 'seq_labels'",)),
        (drop("blocks.0.hook_k_input"), ("no scores for blocks.0.hook_k_input",)),
        (put("blocks.0.hook_q_input", value=torch.zeros(5, 2, 1)), ("token position", "(2, 1)")),
        (put("blocks.0.hook_q_input", value=torch.zeros(3, 1)), ("(3, 1)", "(2, 1)")),
        (put("blocks.0.hook_attn_in", value=torch.zeros(2, 1)), ("another module too",)),
        (put("blocks.0.hook_mlp_in", value=[1.0]), ("not a tensor",)),
    ],
)
def test_auto_circuit_scores_of_another_graph_are_refused_by_name(
    tmp_path: Path, change: Change, parts: tuple[str, ...]
):
    contents = circuit_files.auto_circuit_scores(SHAPE, SCORES)
    read(save(tmp_path / "whole.pkl", contents))
    change(contents)
    with pytest.raises(InvalidInput) as caught:
        read(save(tmp_path / "scores.pkl", contents))
    for part in (str(tmp_path / "scores.pkl"), *parts):
        assert part in str(caught.value)


def test_auto_circuit_scores_of_several_searches_say_where_each_is(tmp_path: Path):
    scores = circuit_files.auto_circuit_scores(SHAPE, SCORES)
    path = save(tmp_path / "cache.pkl", {"ioi": {"ACDC": scores, "Random": scores}})
    with pytest.raises(InvalidInput, match=r"\['ioi'\]\['ACDC'\], \['ioi'\]\['Random'\]") as caught:
        read(path)
    assert "torch.load(FILE)['ioi']['ACDC']" in str(caught.value.fix)


MLP_IN = ("blocks.0.hook_mlp_in", (None,))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (put((*MLP_IN, "hook_embed", (None,)), value=True), ("use_pos_embed=False",)),
        (put((*MLP_IN, "blocks.4.hook_mlp_out", (None,)), value=True), ("m4->m0",)),
        (put((*MLP_IN, "blocks.0.attn.hook_z", (None, None, 0)), value=True), ("hook_z",)),
        (put(("blocks.0.hook_mlp_out", (None,), *MLP_IN), value=False), ("edges into m0",)),
        (put((*MLP_IN, "blocks.0.hook_resid_pre", (None,)), value=1), ("1 is not true or false",)),
        (put("x", value=True), ("'x' is not an edge",)),
    ],
)
def test_original_acdc_subgraph_of_another_graph_is_refused_by_name(
    tmp_path: Path, change: Change, parts: tuple[str, ...]
):
    contents = circuit_files.original_subgraph(SHAPE, EDGES)
    change(contents)
    with pytest.raises(InvalidInput) as caught:
        read(save(tmp_path / "subgraph.pth", contents))
    for part in (str(tmp_path / "subgraph.pth"), *parts):
        assert part in str(caught.value)


class Foreign:
    """A class of the program that wrote a file."""


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("edges.json", '["a0.h1->m0", "a0.h1->m0"]', ("'a0.h1->m0' is named twice",)),
        ("edges.json", '[["a0.h1", "m0"], ["a0.h1", "m0", "q"]]', ("1: ", "is not an edge")),
        ("edges.json", '[["input", "a0.h1"]]', ("a0.h1",)),
        ("edges.json", "[]", ("names no edge",)),
        ("edges.txt", "a0.h1->m0\na0.h1->m0\n", ("named twice",)),
        ("edges.txt", "a0.h1->m7\n", ("a0.h1->m7",)),
        ("graph.json", '{"cfg": {}, "cfg": {}}', ("'cfg' occurs twice",)),
        ("graph.pt", b"PK\x03\x04 no archive", ("weights_only=True", "save their plain contents")),
        ("edges.pkl", pickle.dumps([Foreign()], protocol=4), ("weights_only=True", "torch.save")),
    ],
)
def test_files_that_are_no_circuit_are_refused(
    tmp_path: Path, name: str, content: str | bytes, parts: tuple[str, ...]
):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / name)
    for part in (str(tmp_path / name), *parts):
        assert part in str(caught.value)


def test_file_of_objects_of_a_program_is_refused_without_running_its_code(tmp_path: Path):
    path = save(tmp_path / "scores.pt", {"x": Foreign()})
    with pytest.raises(InvalidInput, match=r"weights_only=True: it needs tests\..*\.Foreign"):
        read(path)
    with pytest.raises(InvalidInput, match="holds no circuit, but a dictionary of epoch"):
        read(save(tmp_path / "checkpoint.pt", {"epoch": 3}))


def test_files_of_another_graph_or_width_say_what_differs(tmp_path: Path):
    path = save(tmp_path / "graph.json", circuit_files.eap_ig_json(SHAPE, EDGES, None, MASKS))
    for topology, width, difference in (
        (Topology(2, 2, has_mlp=True), 4, "layers 1, in the model 2"),
        (Topology(1, 4, has_mlp=True), 4, "heads 2, in the model 4"),
        (Topology(1, 2, has_mlp=False), 4, "MLPs yes, in the model no"),
        (Topology(1, 2, has_mlp=True, parallel=True), 4, "parallel blocks no, in the model yes"),
        (TOPOLOGY, 8, "masks of 4 dimensions, the model has 8"),
    ):
        with pytest.raises(InvalidInput, match=difference):
            read_circuit_file(path, topology, width)


def test_circuit_of_edges_alone_does_not_take_masks():
    document = circuit_files.eap_ig_json(SHAPE, EDGES, None, MASKS)
    with pytest.raises(InvalidInput, match=r"carry neuron masks, and input, a0\.h1, m0 have"):
        from_mib(document)
    every = {name: [True] * 4 for name in SHAPE.sources}
    whole = circuit_files.eap_ig_json(SHAPE, EDGES, None, every)
    assert {str(edge) for edge in from_mib(whole).edges} == EDGES


@pytest.mark.parametrize(
    ("contents", "how", "message"),
    [
        ((EDGES, None, MASKS), Cut(3, None, "edge"), "edges are cut without neuron masks"),
        ((EDGES, None, MASKS), Cut(3, None, "node"), "nodes are cut .* and input, a0.h0, a0.h1"),
        (((), SCORES, MASKS), Cut(3, None, "edge"), "edges are cut .* and input, a0.h0, a0.h1"),
        ((EDGES, {**SCORES, "m0->logits": NAN}), Cut(3, None), "no score for m0->logits"),
        ((EDGES, SCORES), Cut(99, None), "99 edges are not there"),
        ((EDGES, SCORES), Cut(3, None, "node"), "no nodes with a score"),
        ((EDGES, SCORES), Cut(3, None, "neuron"), "no neuron has a score"),
        ((EDGES, SCORES), Cut(3, None, "node", "greedy"), "greedy is for edges"),
    ],
)
def test_cuts_without_the_scores_for_them_are_refused(
    contents: tuple[Any, ...], how: Cut, message: str
):
    file = read_eap_ig_json(circuit_files.eap_ig_json(SHAPE, *contents))
    with pytest.raises(InvalidInput, match=message):
        choose_circuit(file, how)


def test_ties_at_the_last_edge_are_named_or_all_kept():
    ties = dict.fromkeys(SHAPE.edges, 1.0)
    file = read_eap_ig_json(circuit_files.eap_ig_json(SHAPE, set(), ties))
    note, _ = choose_circuit(file, Cut(4, None)).notes
    assert f"{len(SHAPE.edges) - 4} edges that are left out have the score of the last" in note
    assert len(choose_circuit(file, Cut(4, None, None, "threshold")).circuit) == len(SHAPE.edges)
    assert not choose_circuit(file, Cut(0, None, None, "threshold")).circuit


@given(circuits())
def test_eap_ig_pt_round_trip_is_exact(circuit: Circuit):
    if not circuit.topology.has_mlp:
        with pytest.raises(InvalidInput, match="without MLPs"):
            eap_ig_matrices(circuit, d_model=8)
        return
    back = read_eap_ig_matrices(eap_ig_matrices(circuit, d_model=8))
    assert back.circuit == circuit


@given(circuits())
def test_auto_circuit_round_trip_is_exact(circuit: Circuit):
    topology = circuit.topology
    scored = Circuit(
        topology, frozenset(), {edge: circuit.scores.get(edge, 0.5) for edge in topology.edges}
    )
    back = read_auto_circuit_scores(auto_circuit_scores(scored), topology)
    assert back.circuit == scored
    with pytest.raises(InvalidInput, match="has no score"):
        auto_circuit_scores(Circuit(topology, topology.edge_set))


def test_mib_json_read_in_one_order_or_another_is_the_same_circuit():
    circuit = Circuit.of(TOPOLOGY, EDGES, {Edge.parse("m0->logits"): 2.0})
    document = json.loads(json.dumps(to_mib(circuit, d_model=4)))
    document["edges"] = dict(reversed(document["edges"].items()))
    assert read_eap_ig_json(document).circuit == from_mib(to_mib(circuit, d_model=4))


@pytest.mark.parametrize("with_width", [True, False])
def test_eap_ig_json_of_before_neurons_means_the_same(with_width: bool):
    # Graph.to_json then: nodes are booleans, an edge without a score has null
    new = circuit_files.eap_ig_json(SHAPE, EDGES, dict.fromkeys(SHAPE.edges[::2], 0.5))
    old = json.loads(json.dumps(new))
    old["nodes"] = {name: data["in_graph"] for name, data in old["nodes"].items()}
    if not with_width:
        del old["cfg"]["d_model"]
    for name in SHAPE.edges[1::2]:
        old["edges"][name]["score"] = None
    read = read_eap_ig_json(old)
    assert {str(edge) for edge in read.circuit.edges} == EDGES
    scored = {str(edge): score for edge, score in read.circuit.scores.items()}
    assert scored == dict.fromkeys(SHAPE.edges[::2], 0.5)
    assert read.masks is None
    old["nodes"]["m0"] = False
    with pytest.raises(GraphError, match="its node m0 is not"):
        read_eap_ig_json(old)


LAYERED = Circuit.of(Topology.of_layers(["rm", "am"], 2), ["input->r0", "r0->a1.h0<k>"])


@pytest.mark.parametrize(
    "convert",
    [
        lambda: to_mib(LAYERED, d_model=4),
        lambda: eap_ig_matrices(LAYERED, d_model=4),
        lambda: auto_circuit_scores(LAYERED),
        lambda: read_auto_circuit_scores({}, LAYERED.topology),
        lambda: read_subgraph({}, LAYERED.topology),
    ],
)
def test_formats_without_mixers_are_refused_for_a_graph_that_has_them(
    convert: Callable[[], object],
):
    with pytest.raises(GraphError, match="mixers or layers of different parts: 2 layers"):
        convert()


def test_file_of_a_uniform_graph_is_refused_for_a_model_with_mixers():
    file = CircuitFile("node-link", Circuit.full(Topology(2, 2, has_mlp=True)))
    with pytest.raises(
        GraphError, match="parts of layers the same in every layer, in the model rm am"
    ):
        file.require(LAYERED.topology, None)
