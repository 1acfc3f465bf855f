"""Circuits of prompts of several lengths, and which sources they need."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import Bench, circuit_forward, run_circuits, set_up
from acdc_pipeline.engine.circuit_forward import needed_sources
from acdc_pipeline.evaluation import random_masks
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests.oracles.autograd_gates import run_edge_gates
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


def test_sources_are_needed_where_a_present_path_leads_on_to_the_logits(bench: Bench):
    topology = bench.weights.topology
    edges = ["a3.h1->logits", "m1->a3.h1<k>", "a0.h2->m1", "input->a0.h2<v>", "input->a2.h0<q>"]
    mask = topology.edge_mask(Circuit.of(topology, edges).edges)
    needed = needed_sources(bench.weights, mask)
    names = [str(node) for node, there in zip(topology.sources, needed, strict=True) if there]
    # nothing reads a2.h0, so its incoming edge needs nothing
    assert names == ["input", "a0.h2", "m1", "a3.h1"]
