"""The functional forward against the original model, for every architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from acdc_pipeline.engine import check_parity, parity_error
from acdc_pipeline.errors import ParityError
from acdc_pipeline.models import load_model
from tests import checkpoints

TOKENS = torch.randint(checkpoints.VOCAB, (3, 9), generator=torch.Generator().manual_seed(3))
LENGTHS = torch.tensor([9, 7, 9])


@pytest.mark.parametrize("name", checkpoints.EVERY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clean_logits_of_every_architecture_match_the_original(
    name: str, dtype: str, tmp_path: Path
):
    model = load_model(f"dir:{checkpoints.EVERY[name](tmp_path / name)}", dtype=dtype, device="cpu")
    # float32 rounding; Llama's modules compute norms and rotary tables in float32 even in float64.
    tolerance = 1e-12 if dtype == "float64" and name != "llama" else 3e-6
    assert parity_error(model, TOKENS, LENGTHS) < tolerance


def test_parity_gate_wrong_weights_are_refused_by_name(tmp_path: Path):
    model = load_model(f"dir:{checkpoints.gpt2(tmp_path / 'm')}", device="cpu")
    scaled = replace(model.weights, w_u=model.weights.w_u * 1.01)
    with pytest.raises(ParityError, match="GPT2LMHeadModel"):
        check_parity(replace(model, weights=scaled), TOKENS, LENGTHS)


def test_parity_gate_logits_that_are_not_numbers_are_refused(tmp_path: Path):
    model = load_model(f"dir:{checkpoints.gpt2(tmp_path / 'm')}", device="cpu")
    broken = replace(model.weights, w_u=model.weights.w_u * float("nan"))
    with pytest.raises(ParityError):
        check_parity(replace(model, weights=broken), TOKENS, LENGTHS)
