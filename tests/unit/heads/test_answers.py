"""Direct effects: what every part of the stream adds to the answer logit, scale frozen."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.heads.answers import MeanLogit, answer_logit, mean_unembedding, token_logit
from tests import checkpoints, tiny_models

TOKENS = torch.randint(checkpoints.VOCAB, (2, 6), generator=torch.Generator().manual_seed(5))
CORRECT = ((3,), (1, 2))
INCORRECT = ((4, 5), ())


# LayerNorm with biases, RMS norm, no norm
@pytest.mark.parametrize("name", ["gpt2", "llama", "native-no-norm"])
def test_answer_logit_is_read_off_the_logits(name: str):
    weights = tiny_models.weights(name)
    final = run_sources(weights, TOKENS).final[:, -1]
    logits = unembed(weights, final)
    expected = torch.stack(
        [
            logits[0, 3] - logits[0, [4, 5]].mean(),
            logits[1, [1, 2]].mean() - logits[1].mean(),
        ]
    )
    got = answer_logit(weights, CORRECT, INCORRECT).of(final)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["gpt2", "llama", "native-no-norm", "gemma2", "olmo2", "neox"])
def test_direct_effects_of_all_parts_add_up_to_the_answer_logit(name: str):
    weights = tiny_models.weights(name)
    sources = run_sources(weights, TOKENS)
    final = sources.final[:, -1]
    answers = answer_logit(weights, CORRECT, INCORRECT)
    gradient = answers.gradient(final)
    parts = (sources.outputs[:, :, -1] * gradient).sum((0, -1))
    # what is no part of the stream, or constant in it: the norm's bias and attention's own
    constants = (final - sources.outputs[:, :, -1].sum(0)) * gradient
    bias = weights.norm_final.bias
    offset = 0 if bias is None else (answers.direction * bias).sum(-1)
    total = parts + constants.sum(-1) + offset + answers.bias
    torch.testing.assert_close(total, answers.of(final), rtol=1e-9, atol=1e-9)


def test_token_logits_are_against_the_mean_over_the_vocabulary():
    weights = tiny_models.weights("gpt2")
    centre, bias = mean_unembedding(weights)
    torch.testing.assert_close(centre, weights.w_u.mean(1))
    assert float(bias) == 0.0
    directions = token_logit(weights, torch.tensor([[1, 2], [3, 4]]))
    torch.testing.assert_close(directions[1, 0], weights.w_u[:, 3] - centre)


def test_mean_answer_logit_within_three_standard_errors_of_zero_is_nothing_to_share():
    """Of 1 and 3 the mean is 2 with an error of 1; of 3 and 5 it is 4; of -4 there is no answer."""
    found = MeanLogit.of(torch.tensor([1.0, 3.0]))
    assert (found.mean, found.error) == pytest.approx((2.0, 1.0))
    assert found.significant == 0.0
    assert MeanLogit.of(torch.tensor([3.0, 5.0])).significant == 4.0
    assert MeanLogit.of(torch.tensor([-4.0])).significant == 0.0
    assert MeanLogit.of(torch.tensor([4.0])).significant == 4.0
