"""Constant factors on the residual stream; exact scores through them are in `test_every_class`."""

from dataclasses import replace

import pytest
import torch

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.layout import NO_FACTORS, StreamFactors
from acdc_pipeline.models.architectures.reading.stream import (
    fold_factors,
    read_through,
    stream_scales,
)
from acdc_pipeline.models.weights import Block, Norm

NORM = Norm("rms", torch.ones(4), None, 1e-3)
BLOCK = Block(norm_attn=NORM, attn=None, norm_mlp=NORM, mlp=None)


def test_factors_of_one_change_nothing():
    assert stream_scales([NO_FACTORS] * 2) == [1.0, 1.0, 1.0]
    assert fold_factors(BLOCK, NO_FACTORS, 1.0) is BLOCK
    assert read_through(NORM, 1.0) is NORM


def test_norms_divide_their_eps_by_the_square_of_all_factors_before_them():
    factors = [StreamFactors(before_attention=2.0), StreamFactors(before_mlp=0.5)]
    scales = stream_scales(factors)
    assert scales == [1.0, 2.0, 1.0]
    blocks = [fold_factors(BLOCK, *of_layer) for of_layer in zip(factors, scales, strict=False)]
    found = [norm.eps for block in blocks for norm in (block.norm_attn, block.norm_mlp) if norm]
    assert found == pytest.approx([1e-3, 1e-3 / 4, 1e-3 / 4, 1e-3 / 4])


def test_a_negative_factor_is_refused():
    with pytest.raises(UnsupportedModel, match="above 0"):
        read_through(NORM, -1.0)


def test_a_factor_in_front_of_a_part_without_a_norm_is_refused():
    bare = replace(BLOCK, norm_attn=Norm("none", None, None, 0.0))
    with pytest.raises(UnsupportedModel, match=r"0\.5 .* only in front of norms"):
        fold_factors(bare, NO_FACTORS, 0.5)
