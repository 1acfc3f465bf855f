"""Sides of different length against plain hooks, one prompt at a time and without padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import PromptError
from acdc_pipeline.evaluation import circuit_logprobs
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import align_ids
from acdc_pipeline.specs import find_task
from tests import checkpoints
from tests.oracles.hooked_gpt2 import logprobs, node_names, outputs

PAIRS = [
    {"clean": [3, 5, 7, 9], "corrupted": [3, 4, 5, 6, 8, 9], "align": "right"},
    {"clean": [3, 5, 7, 9, 11, 2], "corrupted": [3, 4, 9], "align": "right"},
    {"clean": [6, 5, 7], "corrupted": [3, 4, 9]},
    {
        "clean": [3, 5, 6, 7, 9],
        "corrupted": [3, 8, 7, 2],
        "spans": {"S": {"clean": [1, 2], "corrupted": [1]}},
    },
]
COUNTERPARTS = [(0, 3, 4, 5), (0, 1, 1, 1, 1, 2), (0, 1, 2), (0, 1, 1, 2, 3)]

REMOVED = [
    ["a0.h1"],
    ["m0", "a1.h0"],
    ["input"],
    ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"],
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Any]:
    from transformers import GPT2LMHeadModel

    folder = checkpoints.gpt2(tmp_path_factory.mktemp("gpt2"))
    theirs = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    return load_model(f"dir:{folder}", dtype="float64"), theirs


def bench_of(folder: Path, model: LoadedModel, ablation: Any) -> Bench:
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps({**pair, "correct": 1}) + "\n" for pair in PAIRS))
    prompts = align_ids(find_task(path), vocab=checkpoints.VOCAB, n=9, model="x")
    return set_up(model.weights, prompts, ablation)


def replacements(model: Any, ablation: str) -> list[dict[str, Tensor]]:
    """What each node's output is replaced by, for each pair: position by position."""
    found = []
    for pair, positions in zip(PAIRS, COUNTERPARTS, strict=True):
        there = outputs(model, pair["corrupted"])
        found.append({name: there[name][list(positions)] for name in there})
    if ablation == "corrupted":
        return found
    if ablation == "zero":
        return [{name: torch.zeros_like(value) for name, value in one.items()} for one in found]
    out = []
    for one in found:
        means = {}
        for name, value in one.items():
            others = [[o[name][i] for o in found if len(o[name]) > i] for i in range(len(value))]
            means[name] = torch.stack([torch.stack(rows).mean(0) for rows in others])
        out.append(means)
    return out


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_removed_nodes_carry_what_plain_hooks_write(models, ablation: str, tmp_path: Path):
    ours, theirs = models
    bench = bench_of(tmp_path, ours, ablation)
    written = replacements(theirs, ablation)
    topology = ours.weights.topology
    assert set(REMOVED[-1]) == {str(node) for node in topology.sources} == set(node_names(theirs))
    for removed in REMOVED:
        kept = [edge for edge in topology.edges if str(edge.src) not in removed]
        found = circuit_logprobs(bench, kept)
        for row, (pair, replaced) in enumerate(zip(PAIRS, written, strict=True)):
            chosen = {name: replaced[name] for name in removed}
            expected = logprobs(theirs, pair["clean"], chosen)[-1]
            # float64; MLPs and norms take a few hundred operations
            torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)


def test_corrupted_model_is_what_is_left_without_edges(models, tmp_path: Path):
    ours, theirs = models
    found = circuit_logprobs(bench_of(tmp_path, ours, "corrupted"), [])
    for row, pair in enumerate(PAIRS):
        expected = logprobs(theirs, pair["corrupted"])[-1]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)


def test_attention_to_later_tokens_refuses_what_it_would_see(tmp_path: Path):
    folder = checkpoints.EVERY["native-rms-pre-bidirectional"](tmp_path / "both")
    model = load_model(f"dir:{folder}")
    unequal = {"clean": [3, 5], "corrupted": [4, 3, 5], "correct": 1, "align": "right"}
    whole = {"clean": [3, 5], "corrupted": [4, 5], "correct": [[1, 2]], "answers": "whole"}
    for pair, problem in ((unequal, "prompts differ in length"), (whole, "whole answers")):
        path = tmp_path / "x.jsonl"
        path.write_text(json.dumps(pair))
        prompts = align_ids(find_task(path), vocab=checkpoints.VOCAB, n=1, model="x")
        with pytest.raises(PromptError, match=problem):
            set_up(model.weights, prompts, "corrupted")
