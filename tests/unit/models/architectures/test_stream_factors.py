"""Constant factors on the residual stream; exact scores through them are in `test_every_class`."""

from dataclasses import replace

import pytest
import torch

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.layout import NO_FACTORS, StreamFactors
from acdc_pipeline.models.architectures.reading.stream import fold_stream_factors
from acdc_pipeline.models.weights import Block, Norm

NORM = Norm("rms", torch.ones(4), None, 1e-3)
BLOCK = Block(norm_attn=NORM, attn=None, norm_mlp=NORM, mlp=None)


def test_factors_of_one_change_nothing():
    blocks, final = fold_stream_factors([BLOCK, BLOCK], [NO_FACTORS] * 2, NORM)
    assert blocks[0] is blocks[1] is BLOCK
    assert final is NORM


def test_norms_divide_their_eps_by_the_square_of_all_factors_before_them():
    factors = [StreamFactors(before_attention=2.0), StreamFactors(before_mlp=0.5)]
    blocks, final = fold_stream_factors([BLOCK, BLOCK], factors, NORM)
    found = [norm.eps for block in blocks for norm in (block.norm_attn, block.norm_mlp) if norm]
    assert found == pytest.approx([1e-3, 1e-3 / 4, 1e-3 / 4, 1e-3 / 4])
    assert final.eps == pytest.approx(1e-3)


def test_a_negative_factor_is_refused():
    with pytest.raises(UnsupportedModel, match="above 0"):
        fold_stream_factors([BLOCK], [StreamFactors(before_attention=-1.0)], NORM)


def test_a_factor_in_front_of_a_part_without_a_norm_is_refused():
    bare = replace(BLOCK, norm_attn=Norm("none", None, None, 0.0))
    factors = [StreamFactors(before_mlp=0.5), NO_FACTORS]
    with pytest.raises(UnsupportedModel, match=r"0\.5 .* only in front of norms"):
        fold_stream_factors([BLOCK, bare], factors, NORM)
