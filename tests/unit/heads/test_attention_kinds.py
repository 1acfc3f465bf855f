"""Scores of heads whose attention is of another kind: what is left out, and what is missing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from acdc_pipeline.heads.composition import composition, composition_values
from acdc_pipeline.heads.copying import copying_values
from acdc_pipeline.heads.folded import describe_obstacles, folded_layer
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.heads.random_tokens import attention_scores
from acdc_pipeline.heads.random_weights import random_weights
from acdc_pipeline.heads.singular_tokens import top_tokens
from acdc_pipeline.models.weights import HeadNorm
from tests.attention_models import KINDS, LAYERS, VOCAB, build

OF_OV = {"ov_copying", "copy_at_5", "suppress_at_5", "v_composition", "ov_norm"}
OF_QK = {"q_composition", "k_composition", "qk_norm"}


MEMORY = 2**28


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("sinks", set()),
        ("chunks", set()),
        ("gate", OF_OV),
        # the output of the first layer has no matrix either, so that nothing composes with it
        ("latents", OF_OV | OF_QK),
        ("alibi", OF_OV | OF_QK),
        # it has two QK matrices, none of which is the head's
        ("difference", OF_QK),
    ],
)
def test_profile_scores_of_circuits_that_are_no_matrices_are_missing(kind: str, missing: set[str]):
    weights = build(kind)
    values = [
        *copying_values(weights, torch.arange(VOCAB), MEMORY),
        *composition_values(composition(weights, MEMORY)),
    ]
    last = {value.score: value.mean[-1] for value in values}
    assert last.keys() == OF_OV | OF_QK
    without = {name for name, values in last.items() if np.isnan(values).all()}
    composed = {"q_composition", "k_composition"} if missing else set()
    assert without == missing | composed
    assert all(np.isfinite(values).all() for name, values in last.items() if name not in without)
    for found in top_tokens(weights, MEMORY).values():
        assert bool(found.ov) == (not missing & OF_OV)
        assert bool(found.qk) == (not missing & OF_QK)
    sentences = describe_obstacles(weights)
    assert len(sentences) == bool(missing & OF_OV) + bool(missing & OF_QK)
    assert all(f"of {LAYERS} of {LAYERS} layers are no product" in text for text in sentences)


def test_ov_matrices_give_the_direction_that_heads_write_for_one_token():
    """A gate of a whole head and RMS norms of values change the length of it alone."""
    weights = build("chunks")
    norm = HeadNorm("rms", 1 + torch.rand(2, 4).double(), 1e-5, "head")
    blocks = tuple(
        replace(block, attn=replace(block.attention, b_v=None, v_norm=norm, z_norm_eps=0.1))
        for block in weights.blocks
    )
    weights = replace(weights, blocks=blocks)
    runs: list[LayerRun] = []
    run_tokens(weights, torch.tensor([[3]]), visit=runs.append)
    for run in runs:
        folded = folded_layer(weights, run.layer)
        along = run.stream[0] @ folded.w_v @ folded.w_o
        cosine = torch.cosine_similarity(run.written[:, 0], along, dim=-1)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_scores_of_patterns_with_sinks_are_of_the_attention_that_keys_get():
    runs: list[LayerRun] = []
    tokens = torch.tensor([[0, 3, 5, 3, 5]])
    run_tokens(build("sinks"), tokens, visit=runs.append)
    for run in runs:
        scores = attention_scores(run, period=2)
        for h, pattern in enumerate(run.pattern[:, 0].tolist()):
            rows = [[w / sum(row) for w in row] for row in pattern]
            entropies = [-sum(w * math.log(w) for w in row if w > 0) for row in rows[1:]]
            distances = [sum(w * abs(i - j) for j, w in enumerate(r)) for i, r in enumerate(rows)]
            assert scores["entropy"][h, 0] == pytest.approx(sum(entropies) / 4)
            assert scores["mean_distance"][h, 0] == pytest.approx(sum(distances[1:]) / 4)
            # of all attention, sinks included
            assert scores["sink"][h, 0] == pytest.approx(sum(row[0] for row in pattern[1:]) / 4)


def test_scores_of_differences_are_of_their_absolute_weights_as_shares():
    runs: list[LayerRun] = []
    run_tokens(build("difference"), torch.tensor([[0, 3, 5, 3, 5]]), visit=runs.append)
    for run in runs:
        scores = attention_scores(run, period=2)
        for h, pattern in enumerate(run.pattern[:, 0].tolist()):
            assert min(min(row) for row in pattern) < 0
            rows = [[abs(w) / sum(map(abs, row)) for w in row] for row in pattern]
            entropies = [-sum(w * math.log(w) for w in row if w > 0) for row in rows[1:]]
            distances = [sum(w * abs(i - j) for j, w in enumerate(r)) for i, r in enumerate(rows)]
            assert scores["entropy"][h, 0] == pytest.approx(sum(entropies) / 4)
            assert 0 <= scores["normalised_entropy"][h, 0] <= 1
            assert scores["mean_distance"][h, 0] == pytest.approx(sum(distances[1:]) / 4)
            # with their sign: of the difference itself
            assert scores["sink"][h, 0] == pytest.approx(sum(row[0] for row in pattern[1:]) / 4)


def test_random_models_keep_tables_of_positions():
    for kind in KINDS:
        weights = build(kind)
        drawn = random_weights(weights, seed=0)
        for was, now in zip(weights.blocks, drawn.blocks, strict=True):
            assert now.attention.alibi is was.attention.alibi
            assert now.attention.query_scale is was.attention.query_scale
            assert not torch.equal(now.attention.w_q, was.attention.w_q)
