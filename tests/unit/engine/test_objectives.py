"""KL in its fast form against KL as it is defined."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.engine.objectives import KlObjective
from acdc_pipeline.models import TransformerWeights, resolve_dtype
from tests import tiny_models

ANSWERS, STATES = 3, 5


# What differs between architectures here: the final norm, and a bias, scale or cap of the logits.
@pytest.fixture(params=["gpt2", "llama", "gemma", "gptj", "cohere", "gemma2", "native-no-norm"])
def weights(request: pytest.FixtureRequest) -> TransformerWeights:
    return tiny_models.weights(request.param)


def _defined(weights: TransformerWeights, base: Tensor, states: Tensor) -> Tensor:
    p = unembed(weights, base).softmax(-1)
    q = unembed(weights, states).softmax(-1)
    return (p * (p.log() - q.log())).sum(-1).mean(-1)


@pytest.mark.parametrize("scale", [1e-4, 0.1, 10.0])
def test_kl_objective_small_and_large_changes_match_the_definition(
    weights: TransformerWeights, scale: float
):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(ANSWERS, weights.d_model, generator=generator, dtype=torch.float64)
    noise = torch.randn(STATES, ANSWERS, weights.d_model, generator=generator, dtype=torch.float64)
    states = base + scale * noise
    objective = KlObjective(weights, base, unembed(weights, base).log_softmax(-1))
    assert objective(states).tolist() == pytest.approx(
        _defined(weights, base, states).tolist(), rel=1e-9, abs=1e-15
    )


def test_kl_objective_change_of_hundreds_of_logits_stays_finite_and_right(
    weights: TransformerWeights,
):
    generator = torch.Generator().manual_seed(1)
    base = torch.randn(ANSWERS, weights.d_model, generator=generator, dtype=torch.float64)
    sharp = replace(weights, w_u=2000 * weights.w_u, b_u=None)
    states = -base[None]
    logprobs = unembed(sharp, base).log_softmax(-1)
    direct = (logprobs.exp() * (logprobs - unembed(sharp, states).log_softmax(-1))).sum(-1)
    found = KlObjective(sharp, base, logprobs)(states)
    assert found.tolist() == pytest.approx(direct.mean(-1).tolist(), rel=1e-9)


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_kl_objective_float32_resolves_what_log_probabilities_lose(name: str):
    weights64 = tiny_models.weights(name)
    weights32 = weights64.to(precision=resolve_dtype("float32"), device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(ANSWERS, weights64.d_model, generator=generator)
    states = base + 1e-3 * torch.randn(STATES, ANSWERS, weights64.d_model, generator=generator)
    exact = _defined(weights64, base.double(), states.double())
    objective = KlObjective(weights32, base, unembed(weights32, base).log_softmax(-1))
    # Divergences here are about 1e-7, below the rounding of a float32 log-probability.
    assert exact.max() < 1e-5
    assert objective(states).tolist() == pytest.approx(exact.tolist(), rel=2e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sureness", [10.0, 28.0, 80.0])
def test_kl_objective_sure_model_whose_favourite_falls_matches_the_definition(
    sureness: float, dtype: str
):
    weights64 = tiny_models.weights("native-no-norm")
    vocab = weights64.w_u.shape[1]
    # A stream that reads out as one logit, for token 0 alone: p(0) = 1 - (V - 1) e^-sureness.
    w_u = torch.zeros_like(weights64.w_u)
    w_u[0, 0] = 1.0
    wide = replace(weights64, w_u=w_u, b_u=None)
    weights = wide.to(precision=resolve_dtype(dtype), device=torch.device("cpu"))
    base = torch.zeros(1, weights.d_model, dtype=weights.dtype)
    base[0, 0] = sureness
    fallen = torch.zeros(2, 1, weights.d_model, dtype=weights.dtype)
    fallen[1, 0, 0] = -sureness
    found = KlObjective(weights, base, unembed(weights, base).log_softmax(-1))(fallen)
    # All the weight was on token 0: KL = log V, and with its logit at -s, s + log(V - 1).
    expected = torch.tensor(
        [torch.log(torch.tensor(vocab)), sureness + torch.log(torch.tensor(vocab - 1))]
    )
    slack = 2 * vocab * (sureness + 5) * 2.718281828**-sureness
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=slack)
