"""Trying a model on random tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.workflows.model_check import check_model
from tests import checkpoints


@pytest.mark.parametrize("seed", [-1, 2**63, 99999999999999999999])
def test_check_model_seed_that_no_generator_takes_is_refused(seed: int):
    with pytest.raises(InvalidInput) as raised:
        check_model("zoo:attn-2l", seed=seed)
    assert raised.value.field == "seed"
    assert str(seed) in raised.value.problem


def test_check_model_takes_prompts_that_fit_the_first_positions_of_longrope(tmp_path: Path):
    from transformers import Phi3Config, Phi3ForCausalLM

    config = Phi3Config(
        num_hidden_layers=1,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=24,
        vocab_size=23,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 100.0,
            "short_factor": [1.0] * 4,
            "long_factor": [2.0] * 4,
            "factor": 4.0,
        },
        original_max_position_embeddings=8,
    )
    directory = checkpoints.randomised(Phi3ForCausalLM(config), tmp_path / "m")
    result = check_model(f"dir:{directory}", device="cpu")
    assert (result.tokens, result.passed) == (8, True)
