"""Groups of prompts of similar length against their definition, and what is computed with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from acdc_pipeline.graph import head
from acdc_pipeline.heads.batches import length_groups
from acdc_pipeline.heads.query_effects import query_effects
from acdc_pipeline.heads.task_scores import task_scores
from acdc_pipeline.models.weights import Mlp, TransformerWeights
from acdc_pipeline.prompts import PromptSet
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts

MEMORY = 1 << 28
ENOUGH = 10**6
"""States that make any group worth a batch."""


def prompts() -> PromptSet:
    return random_prompts(5, 8, checkpoints.VOCAB, lengths=[7, 4, 8, 4, 6])


def test_groups_hold_each_prompt_once_cut_behind_its_longest_answer():
    groups = length_groups(tiny_models.weights("llama"), prompts(), states=ENOUGH)
    assert [(group.rows.tolist(), group.width) for group in groups] == [
        ([1, 3], 4),
        ([4], 6),
        ([0], 7),
        ([2], 8),
    ]


def test_lengths_are_put_together_until_their_copies_are_worth_a_batch():
    groups = length_groups(tiny_models.weights("llama"), prompts(), states=1)
    assert [(group.rows.tolist(), group.width) for group in groups] == [([1, 3, 4, 0, 2], 8)]


def test_places_of_a_group_are_those_of_its_prompts_answers():
    # two answers in prompt 1, none in prompt 3
    p = replace(
        prompts(),
        answer_row=torch.tensor([0, 1, 1, 2, 4]),
        answer_pos=torch.tensor([6, 1, 3, 7, 5]),
    )
    groups = length_groups(tiny_models.weights("llama"), p, states=ENOUGH)
    assert [group.rows.tolist() for group in groups] == [[1], [4], [0], [2]]
    assert sorted(i for group in groups for i in group.answers.tolist()) == [0, 1, 2, 3, 4]
    for group in groups:
        stream = torch.stack([p.clean[group.rows, : group.width] + 100 * s for s in range(3)])
        found = stream.flatten(0, 1)[group.places_in(3)]
        expected = p.clean[p.answer_row, p.answer_pos][group.answers]
        assert torch.equal(found, torch.stack([expected + 100 * s for s in range(3)]))


def test_prompts_that_attention_reads_backwards_stay_whole():
    weights = tiny_models.weights("llama")
    block = weights.blocks[0]
    ahead = replace(block, attn=replace(block.attention, direction="bidirectional"))
    weights = replace(weights, blocks=(ahead, *weights.blocks[1:]))
    p = replace(random_prompts(3, 6, checkpoints.VOCAB), answer_pos=torch.tensor([2, 5, 3]))
    groups = length_groups(weights, p, states=ENOUGH)
    assert [(group.rows.tolist(), group.width) for group in groups] == [([0, 1, 2], 6)]


@pytest.mark.parametrize("name", ["llama", "neox"])
def test_scores_of_prompts_together_are_those_of_each_alone(name: str):
    """Ablation by the mean is left out: it is a mean over all prompts."""
    weights, p = with_wide_mlps(tiny_models.weights(name)), prompts()
    assert len(length_groups(weights, p, weights.topology.n_heads)) > 1
    together = task_scores(weights, p, memory=MEMORY).samples
    movers = [head(1, 0), head(1, 1)]
    patched = query_effects(weights, p, movers, memory=MEMORY)
    for index in range(len(p)):
        one = prompt_alone(p, index)
        alone = task_scores(weights, one, memory=MEMORY).samples
        for score in ("zero_ablation", "zero_ablation_kl", "corrupted_ablation_kl", "self_repair"):
            np.testing.assert_allclose(
                together[score][index], alone[score][0], rtol=1e-7, atol=1e-10
            )
        np.testing.assert_allclose(
            patched[index],
            query_effects(weights, one, movers, memory=MEMORY)[0],
            rtol=1e-7,
            atol=1e-10,
        )


def with_wide_mlps(weights: TransformerWeights) -> TransformerWeights:
    """`weights` with so many hidden units that two prompts are a batch."""
    generator = torch.Generator().manual_seed(0)
    width, d_model = 2**14, weights.d_model

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=weights.dtype) / shape[0] ** 0.5

    blocks = []
    for block in weights.blocks:
        assert isinstance(block.mlp, Mlp)
        mlp = replace(
            block.mlp,
            w_in=drawn(d_model, width),
            b_in=None,
            w_gate=None if block.mlp.w_gate is None else drawn(d_model, width),
            b_gate=None,
            w_out=drawn(width, d_model),
        )
        blocks.append(replace(block, mlp=mlp))
    return replace(weights, blocks=tuple(blocks))


def prompt_alone(p: PromptSet, index: int) -> PromptSet:
    """One prompt without its padding."""
    width = int(p.lengths[index])
    return PromptSet(
        clean=p.clean[index : index + 1, :width],
        corrupted=p.corrupted[index : index + 1, :width],
        lengths=p.lengths[index : index + 1],
        answer_row=torch.tensor([0]),
        answer_pos=p.answer_pos[index : index + 1],
        correct=p.correct[index : index + 1],
        incorrect=p.incorrect[index : index + 1],
        clean_text=("",),
        corrupted_text=("",),
        template=(0,),
    )
