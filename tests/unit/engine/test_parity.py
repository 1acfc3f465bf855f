"""The functional forward against the original model, for every architecture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acdc_pipeline.engine import check_parity, parity_error
from acdc_pipeline.errors import ParityError
from tests import checkpoints, tiny_models
from tests.float64 import Float64Throughout

TOKENS = torch.randint(checkpoints.VOCAB, (3, 9), generator=torch.Generator().manual_seed(3))
LENGTHS = torch.tensor([9, 7, 9])


@pytest.mark.parametrize("name", checkpoints.EVERY)
def test_clean_logits_in_float64_match_the_original(name: str):
    model = tiny_models.loaded(name, "float64")
    with Float64Throughout():
        assert parity_error(model, TOKENS, LENGTHS) < 1e-12


@pytest.mark.parametrize("name", checkpoints.EVERY)
def test_clean_logits_in_float32_match_the_original(name: str):
    assert parity_error(tiny_models.loaded(name), TOKENS, LENGTHS) < 3e-6


def test_parity_gate_wrong_weights_are_refused_by_name():
    model = tiny_models.loaded("gpt2")
    scaled = replace(model.weights, w_u=model.weights.w_u * 1.01)
    with pytest.raises(ParityError, match="GPT2LMHeadModel"):
        check_parity(replace(model, weights=scaled), TOKENS, LENGTHS)


def test_parity_gate_logits_that_are_not_numbers_are_refused():
    model = tiny_models.loaded("gpt2")
    broken = replace(model.weights, w_u=model.weights.w_u * float("nan"))
    with pytest.raises(ParityError, match="NaN or infinite"):
        check_parity(replace(model, weights=broken), TOKENS, LENGTHS)
