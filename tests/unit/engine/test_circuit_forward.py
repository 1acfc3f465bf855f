"""Circuits of prompts of several lengths, and which sources they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import Bench, circuit_forward, run_circuit, run_circuits, set_up
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.shared_outputs import identify_outputs, needed_sources
from acdc_pipeline.evaluation import random_masks
from acdc_pipeline.graph import Circuit, Edge, Node
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests import checkpoints
from tests.oracles.autograd_gates import run_edge_gates
from tests.prompt_sets import random_prompts
from tests.support import REPOSITORY


@pytest.fixture(scope="module")
def bench() -> Bench:
    model = load_model("zoo:gpt2-4l-s0", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("ioi", REPOSITORY), model.tokenizer, n=10, seed=0)
    assert len(set(prompts.lengths.tolist())) > 2
    return set_up(model.weights, prompts, "corrupted")


def test_circuits_of_prompts_taken_a_few_at_a_time_are_what_gates_say(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(circuit_forward, "_BATCH_BYTES", 1)
    monkeypatch.setattr(circuit_forward, "_LEAST_ROWS", 72)  # three prompts of 24 positions
    topology = bench.weights.topology
    masks = np.stack(list(random_masks(topology, edges=120, n=3, seed=0)))
    masks[1] = True
    prompts, answers = bench.prompts, (bench.prompts.answer_row, bench.prompts.answer_pos)
    found = run_circuits(bench.weights, prompts.clean, bench.ablated, masks)
    for mask, ours in zip(masks, found, strict=True):
        gates = torch.from_numpy(mask).double()
        theirs = run_edge_gates(bench.weights, prompts.clean, bench.ablated, gates)
        torch.testing.assert_close(ours[answers], theirs[answers], rtol=1e-10, atol=1e-10)


def test_circuits_to_answers_are_the_final_streams_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    topology = bench.weights.topology
    masks = np.stack([*random_masks(topology, edges=100, n=2, seed=1)])
    masks = np.stack([masks[0], np.zeros_like(masks[0]), masks[1]])
    arguments = (bench.weights, bench.prompts.clean, bench.ablated, masks)
    whole = run_circuits(*arguments)[:, bench.prompts.answer_row, bench.prompts.answer_pos]
    monkeypatch.setattr(circuit_forward, "_BATCH_BYTES", 1)
    monkeypatch.setattr(circuit_forward, "_LEAST_ROWS", 72)  # three prompts of 24 positions
    monkeypatch.setattr(circuit_forward, "_LEAST_WORK", 1)
    shares: list[float] = []
    found = circuit_forward.run_circuits_to_answers(*arguments, bench.layout, shares.append)
    torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-10)
    assert shares == sorted(shares)
    # the empty circuit at once, then of each batch of prompts each of two circuits
    assert len(shares) > 3
    assert len(shares) % 2 == 1
    assert shares[-1] == 1


ARCHITECTURES = ["gpt2", "llama", "gemma2", "stablelm-parallel", "olmo2", "falcon", "opt"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_last_layer_at_the_answers_is_what_it_is_at_every_position(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load_model(f"dir:{checkpoints.HUGGING_FACE[name](tmp_path)}", dtype="float64")
    few = random_prompts(4, 7, checkpoints.VOCAB, lengths=[5, 7, 4, 7])
    prompts = replace(  # the second prompt has two answers, and they are not in order
        few, answer_row=torch.tensor([3, 1, 0, 1, 2]), answer_pos=torch.tensor([6, 6, 4, 2, 3])
    )
    topology = model.topology
    ablated = set_up(model.weights, few, "corrupted").ablated
    draw = np.random.default_rng(0)
    masks = [draw.random(topology.n_edges) < share for share in (0.04, 0.5, 0.9, 1.0)]
    # The whole model without nodes, two of which are the same up to the last layer.
    missing = ([1], [len(topology.sources) - 1], [len(topology.sources) - 2], [0, 2, 4], [1, 3])
    masks += [~np.isin(topology.edge_sources, sources) for sources in missing]
    arguments = (model.weights, prompts.clean, ablated, np.stack(masks))
    expected = torch.stack(
        [
            run_circuit(model.weights, prompts.clean, ablated, topology.edges_in(mask))
            for mask in masks
        ]
    )[:, prompts.answer_row, prompts.answer_pos]
    layout = Layout(4, 7, prompts.answer_row, prompts.answer_pos)
    monkeypatch.setattr(circuit_forward, "_LEAST_WORK", 1)
    for rows in (1, 256):  # several batches, and one
        monkeypatch.setattr(circuit_forward, "_LEAST_ROWS", rows)
        found = circuit_forward.run_circuits_to_answers(*arguments, layout)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def upstream(mask: dict[Edge, bool], node: Node) -> frozenset[Edge]:
    """The edges that what `node` writes depends on, by their definition."""
    into = {edge for edge, present in mask.items() if present and edge.dst == node}
    return frozenset(into.union(*(upstream(mask, edge.src) for edge in into)))


def test_outputs_are_the_same_where_the_edges_upstream_of_them_are(bench: Bench):
    topology = bench.weights.topology
    draw = Random(0)
    whole = np.array([draw.random() < 0.1 for _ in topology.edges])
    masks = [whole, *(whole & (topology.edge_sources != source) for source in (2, 9, 14))]
    ids = identify_outputs(bench.weights, masks)
    edges = [dict(zip(topology.edges, mask.tolist(), strict=True)) for mask in masks]
    outputs = {
        (circuit, source): upstream(edges[circuit], topology.sources[source])
        for circuit, source in zip(*(ids >= 0).nonzero(), strict=True)
    }
    for (circuit, source), ours in outputs.items():
        for (other, other_source), theirs in outputs.items():
            same = source == other_source and ours == theirs
            assert (ids[circuit, source] == ids[other, other_source]) == same


def test_sources_are_needed_where_a_present_path_leads_on_to_the_logits(bench: Bench):
    topology = bench.weights.topology
    edges = ["a3.h1->logits", "m1->a3.h1<k>", "a0.h2->m1", "input->a0.h2<v>", "input->a2.h0<q>"]
    mask = topology.edge_mask(Circuit.of(topology, edges).edges)
    needed = needed_sources(bench.weights, mask)
    names = [str(node) for node, there in zip(topology.sources, needed, strict=True) if there]
    # nothing reads a2.h0, so its incoming edge needs nothing
    assert names == ["input", "a0.h2", "m1", "a3.h1"]
