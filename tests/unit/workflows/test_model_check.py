"""Trying a model on random tokens."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.workflows.model_check import check_model


@pytest.mark.parametrize("seed", [-1, 2**63, 99999999999999999999])
def test_check_model_seed_that_no_generator_takes_is_refused(seed: int):
    with pytest.raises(InvalidInput) as raised:
        check_model("zoo:attn-2l", seed=seed)
    assert raised.value.field == "seed"
    assert str(seed) in raised.value.problem
