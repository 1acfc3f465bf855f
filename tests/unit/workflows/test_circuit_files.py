"""Circuit files of other tools, evaluated and compared with hooks on the model itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import set_up
from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.evaluation import circuit_logprobs, measure
from acdc_pipeline.evaluation.neuron_masks import check_masks
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.files.score_cut import Cut
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.models import load_model
from acdc_pipeline.models.bridge import load_bridge
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.names import Ablation
from acdc_pipeline.workflows.circuit_files import choose_circuit, notes_on, read_circuit_file
from acdc_pipeline.workflows.discovery import run_of_circuit
from tests import checkpoints, circuit_files
from tests.circuit_files import Shape, save
from tests.oracles.masked_patching import MaskedPatching
from tests.prompt_sets import random_prompts

SHAPE = Shape(layers=2, heads=2, width=16)
PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
EVERY = {name: [True] * SHAPE.width for name in SHAPE.sources}
HALF = [True] * 8 + [False] * 8
HALF_OF_ALL = np.array([[True, False]])


class Model:
    """One model twice: in the engine, and as the module that hooks are put on."""

    def __init__(self, directory: Path, ablation: Ablation) -> None:
        self.reference = f"dir:{directory}"
        self.loaded = load_model(self.reference, dtype="float64", device="cpu")
        self.bench = set_up(self.loaded.weights, PROMPTS, ablation)
        bridge = load_bridge(directory, dtype=torch.float64)
        self.hooks = MaskedPatching(bridge, PROMPTS.clean, PROMPTS.corrupted, ablation)

    def read(self, path: Path, how: Cut | None = None) -> CircuitFile:
        """The circuit in a file."""
        return choose_circuit(read_circuit_file(path, self.loaded.topology, SHAPE.width), how)

    def kl(self, file: CircuitFile) -> float:
        """KL of the circuit in a file, by the engine."""
        logprobs = circuit_logprobs(self.bench, file.circuit.edges, file.masks)
        return measure(self.bench, logprobs, ["kl"])["kl"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny GPT-2."""
    return Model(checkpoints.gpt2(tmp_path_factory.mktemp("gpt2")), "corrupted")


def random_edges(share: float = 0.6, seed: int = 0) -> set[str]:
    draw = Random(seed)
    return {edge for edge in SHAPE.edges if draw.random() < share}


def random_masks(seed: int = 1) -> dict[str, list[bool]]:
    draw = Random(seed)
    return {name: [draw.random() < 0.5 for _ in range(SHAPE.width)] for name in SHAPE.sources}


def random_scores(seed: int = 2) -> dict[str, float]:
    draw = Random(seed)
    return {edge: draw.gauss(0, 1) for edge in SHAPE.edges}


def tensors(masks: dict[str, list[bool]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(mask, dtype=torch.float64) for name, mask in masks.items()}


LIVE = {edge for edge in random_edges() if not edge.startswith("m1->")} | {"m1->logits"}


@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".json", circuit_files.eap_ig_json), (".pt", circuit_files.eap_ig_pt)],
)
def test_eap_ig_graph_has_the_kl_that_hooks_on_its_edges_give(
    model: Model, tmp_path: Path, suffix: str, write: Callable[..., Any]
):
    file = model.read(save(tmp_path / f"graph{suffix}", write(SHAPE, LIVE, random_scores())))
    assert {str(edge) for edge in file.circuit.edges} == LIVE
    scores = {str(edge): score for edge, score in file.circuit.scores.items()}
    assert scores == pytest.approx(random_scores(), rel=1e-6)
    assert model.kl(file) == pytest.approx(model.hooks.masked_kl(LIVE, {}), rel=1e-9)
    assert model.kl(file) > 0.01


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".json", circuit_files.eap_ig_json), (".pt", circuit_files.eap_ig_pt)],
)
def test_neuron_masks_have_the_kl_that_hooks_on_each_dimension_give(
    model: Model, tmp_path: Path, suffix: str, write: Callable[..., Any], ablation: Ablation
):
    if ablation != "corrupted":
        model = Model(checkpoints.gpt2(tmp_path / "gpt2"), ablation)
    masks = random_masks()
    file = model.read(save(tmp_path / f"graph{suffix}", write(SHAPE, LIVE, None, masks)))
    assert [str(node) for node in file.masked] == SHAPE.sources
    expected = model.hooks.masked_kl(LIVE, tensors(masks))
    assert model.kl(file) == pytest.approx(expected, rel=1e-9)
    assert expected != pytest.approx(model.hooks.masked_kl(LIVE, {}), rel=1e-2)


def test_half_of_an_mlps_neurons_is_neither_the_whole_mlp_nor_none_of_it(
    model: Model, tmp_path: Path
):
    edges, kl = set(SHAPE.edges), {}
    for name, mask in {"whole": [True] * 16, "half": HALF, "none": [False] * 16}.items():
        document = circuit_files.eap_ig_json(SHAPE, edges, None, {**EVERY, "m0": mask})
        file = model.read(save(tmp_path / f"{name}.json", document))
        kl[name] = model.kl(file)
        expected = model.hooks.masked_kl(edges, tensors({"m0": mask}))
        assert kl[name] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kl["whole"] == pytest.approx(0, abs=1e-12)
    assert min(kl["half"], kl["none"]) > 0.01
    assert kl["half"] != pytest.approx(kl["none"], rel=0.01)
    without = model.hooks.masked_kl({edge for edge in edges if not edge.startswith("m0->")}, {})
    assert kl["none"] == pytest.approx(without, rel=1e-9)


def test_centred_masks_have_the_kl_of_hooks_on_the_model_that_transformer_lens_centres(
    tmp_path: Path,
):
    directory = checkpoints.gpt2(tmp_path / "gpt2")
    model = Model(directory, "corrupted")
    bridge = load_bridge(directory, dtype=torch.float64)
    bridge.enable_compatibility_mode()
    centred = MaskedPatching(bridge, PROMPTS.clean, PROMPTS.corrupted, "corrupted")
    masks = random_masks()
    path = save(tmp_path / "graph.pt", circuit_files.eap_ig_pt(SHAPE, LIVE, None, masks))
    file = replace(model.read(path), basis="centred")
    assert model.kl(file) == pytest.approx(centred.masked_kl(LIVE, tensors(masks)), rel=1e-6)
    assert model.kl(file) != pytest.approx(model.kl(model.read(path)), rel=1e-2)


def test_masks_of_heads_are_read_by_head_in_both_of_the_forms_that_they_have(
    model: Model, tmp_path: Path
):
    flat, masks = circuit_files.eap_ig_json(SHAPE, LIVE, None, random_masks()), random_masks()
    nested = json.loads(json.dumps(flat))
    for layer in range(SHAPE.layers):
        rows = [masks[f"a{layer}.h{head}"] for head in range(SHAPE.heads)]
        for head in range(SHAPE.heads):
            nested["nodes"][f"a{layer}.h{head}"]["neurons"] = rows
    found = [
        model.read(save(tmp_path / f"{name}.json", document)).neurons
        for name, document in {"flat": flat, "nested": nested}.items()
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0] == found[1]).all()
    nested["nodes"]["a0.h1"]["neurons"] = [HALF, HALF]
    with pytest.raises(InvalidInput, match="differs from the rows of another head"):
        model.read(save(tmp_path / "other.json", nested))


def test_removed_edges_that_eap_ig_lets_pass_with_masks_are_named(model: Model, tmp_path: Path):
    edges = set(SHAPE.edges) - {"m0->logits"}
    masks = {**EVERY, "a0.h0": HALF}
    path = save(tmp_path / "graph.json", circuit_files.eap_ig_json(SHAPE, edges, None, masks))
    (note,) = model.read(path).notes
    assert note.startswith("1 removed edges")
    assert "m0->logits" in note
    whole = circuit_files.eap_ig_json(SHAPE, set(SHAPE.edges), None, masks)
    assert model.read(save(tmp_path / "whole.json", whole)).notes == ()


def top(scores: dict[str, float], count: int, of: Callable[[float], float] = abs) -> set[str]:
    return set(sorted(scores, key=lambda edge: -of(scores[edge]))[:count])


def pruned(edges: set[str]) -> set[str]:
    """Take away nodes without a way in or out, one round after the other."""
    while True:
        ends = [edge.split("->") for edge in edges]
        out = {source for source, _ in ends}
        into = {circuit_files.node_of(receiver) for _, receiver in ends} | {"input"}
        alive = out & into
        left = {
            f"{source}->{receiver}"
            for source, receiver in ends
            if source in alive and circuit_files.node_of(receiver) in alive | {"logits"}
        }
        if left == edges:
            return left
        edges = left


def greedy(scores: dict[str, float], count: int, of: Callable[[float], float]) -> set[str]:
    """From the logits up: always the best edge into a node that is reached."""
    reached, taken = {"logits"}, set[str]()
    for _ in range(count):
        into = [
            edge
            for edge in set(scores) - taken
            if circuit_files.node_of(edge.split("->")[1]) in reached
        ]
        best = max(into, key=lambda edge: of(scores[edge]))
        taken.add(best)
        reached.add(best.split("->")[0])
    return taken


@pytest.mark.parametrize("form", ["json", "pt"])
@pytest.mark.parametrize("rank", ["magnitude", "signed"])
def test_eap_ig_scores_are_cut_as_eap_ig_cuts_them(
    model: Model, tmp_path: Path, form: str, rank: Any
):
    scores, of = random_scores(), abs if rank == "magnitude" else float
    write = circuit_files.eap_ig_json if form == "json" else circuit_files.eap_ig_pt
    path = save(tmp_path / f"scores.{form}", write(SHAPE, set(), scores))
    with pytest.raises(InvalidInput, match="no edge in the circuit") as caught:
        model.read(path)
    assert "--top N" in str(caught.value.fix)
    for count in (5, 20, 31):
        found = model.read(path, Cut(count, None, None, None, rank))
        expected = pruned(top(scores, count, of))
        assert {str(edge) for edge in found.circuit.edges} == expected
        assert model.kl(found) == pytest.approx(model.hooks.masked_kl(expected, {}), rel=1e-9)
        found = model.read(path, Cut(count, None, "edge", "greedy", rank))
        assert {str(e) for e in found.circuit.edges} == pruned(greedy(scores, count, of))
    share = model.read(path, Cut(None, 0.5, None, None, rank))
    half = pruned(top(scores, len(SHAPE.edges) // 2, of))
    assert {str(edge) for edge in share.circuit.edges} == half


def test_eap_ig_scores_of_nodes_and_neurons_keep_what_has_none(model: Model, tmp_path: Path):
    document = circuit_files.eap_ig_json(SHAPE, set())
    values = {"input": float("nan"), "a0.h0": 3, "a0.h1": -5, "m0": 1, "a1.h0": -2, "a1.h1": 0}
    for name, score in {**values, "m1": 0.5}.items():
        document["nodes"][name]["score"] = score
    path = save(tmp_path / "nodes.json", document)
    found = model.read(path, Cut(2, None))
    kept = {"input", "a0.h0", "a0.h1"}
    expected = {
        edge
        for edge in SHAPE.edges
        if edge.split("->")[0] in kept
        and circuit_files.node_of(edge.split("->")[1]) in {*kept, "logits"}
    }
    assert {str(edge) for edge in found.circuit.edges} == expected
    assert model.kl(found) == pytest.approx(model.hooks.masked_kl(expected, {}), rel=1e-9)

    draw = Random(3)
    contents = circuit_files.eap_ig_pt(SHAPE, set(), None, dict.fromkeys(SHAPE.sources, HALF))
    contents["neurons_scores"] = torch.tensor(
        [[draw.gauss(0, 1) for _ in range(16)] for _ in SHAPE.sources]
    )
    contents["neurons_scores"][0] = float("nan")
    found = model.read(save(tmp_path / "neurons.pt", contents), Cut(40, None))
    magnitudes = contents["neurons_scores"].abs()
    line = magnitudes[1:].flatten().sort(descending=True).values[39]
    masks = {name: row >= line for name, row in zip(SHAPE.sources, magnitudes, strict=True)}
    masks["input"] = torch.ones(16, dtype=torch.bool)
    assert found.neurons is not None
    assert found.neurons.tolist() == [masks[name].tolist() for name in SHAPE.sources]
    expected_kl = model.hooks.masked_kl(set(SHAPE.edges), masks)
    assert model.kl(found) == pytest.approx(expected_kl, rel=1e-9)


@pytest.mark.parametrize("separate", [True, False])
def test_auto_circuit_scores_are_cut_at_the_score_of_the_last_edge(
    model: Model, tmp_path: Path, separate: bool
):
    scores = random_scores()
    if not separate:  # one input a head: its three slots have one score
        scores = {e: scores[f"{e[:-3]}<q>" if e.endswith(">") else e] for e in scores}
    contents = circuit_files.auto_circuit_scores(SHAPE, scores, separate)
    path = save(tmp_path / "scores.pkl", contents)
    read = read_circuit_file(path, model.loaded.topology, SHAPE.width)
    assert {str(edge): score for edge, score in read.circuit.scores.items()} == pytest.approx(
        scores, rel=1e-6
    )
    found = model.read(path, Cut(20, None))
    line = sorted(map(abs, scores.values()), reverse=True)[19]
    expected = {edge for edge, score in scores.items() if abs(score) >= line}
    assert {str(edge) for edge in found.circuit.edges} == expected
    assert len(expected) >= 20
    assert model.kl(found) == pytest.approx(model.hooks.masked_kl(expected, {}), rel=1e-9)


def test_original_acdc_subgraph_has_the_kl_of_its_edges(model: Model, tmp_path: Path):
    path = save(tmp_path / "subgraph.pth", circuit_files.original_subgraph(SHAPE, LIVE))
    found = model.read(path)
    assert {str(edge) for edge in found.circuit.edges} == LIVE
    assert model.kl(found) == pytest.approx(model.hooks.masked_kl(LIVE, {}), rel=1e-9)
    cut = circuit_files.original_subgraph(SHAPE, LIVE, {"a1.h0<q>", "a0.h1<k>"})
    found = model.read(save(tmp_path / "cut.pth", cut))
    left = {edge for edge in LIVE if not edge.endswith(("->a1.h0<q>", "->a0.h1<k>"))}
    assert {str(edge) for edge in found.circuit.edges} == left
    assert {str(slot) for slot in found.cut_off} == {"a1.h0<q>", "a0.h1<k>"}
    task = TaskSpec.from_pairs([([1, 2], [1, 3], 0)])
    for ablation, named in (("corrupted", False), ("zero", True), ("mean", True)):
        run = run_of_circuit(
            found.circuit,
            task,
            model.reference,
            metric="kl",
            ablation=ablation,
            prompts=1,
            seed=0,
            dtype="float64",
        )
        notes = notes_on(found, run, model.bench.weights)
        assert any("a1.h0<q>" in note for note in notes) is named


def test_lists_of_edges_and_pairs_are_the_circuit_of_their_edges(model: Model, tmp_path: Path):
    pairs = [edge.split("->") for edge in sorted(LIVE)]
    for name, contents in {
        "pairs.json": pairs,
        "names.json": sorted(LIVE),
        "lines.txt": "# a circuit\n" + "\n".join(sorted(LIVE)),
    }.items():
        found = model.read(save(tmp_path / name, contents))
        assert {str(edge) for edge in found.circuit.edges} == LIVE


def test_masks_without_an_exact_meaning_are_refused(tmp_path: Path):
    for name, mask, message in (
        ("llama", NeuronMasks(HALF_OF_ALL, "centred"), "not all LayerNorms"),
        ("gemma2", NeuronMasks(HALF_OF_ALL), "normalises the sum of its heads"),
    ):
        directory = checkpoints.HUGGING_FACE[name](tmp_path / name)
        loaded = load_model(f"dir:{directory}", dtype="float64", device="cpu")
        topology = loaded.topology
        kept = np.resize(mask.kept, (len(topology.sources), loaded.weights.d_model))
        bench = set_up(loaded.weights, PROMPTS, "corrupted")
        with pytest.raises(UnsupportedModel, match=message):
            check_masks(bench, replace(mask, kept=kept), name)
        heads = [topology.source_index[node] for node in topology.sources if node.kind == "head"]
        kept[heads] = True
        check_masks(bench, NeuronMasks(kept), name)
