"""Parts of a transformer against the formulas they stand for, with and without gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from acdc_pipeline.engine.components import mlp_output
from acdc_pipeline.engine.slots import rotate
from acdc_pipeline.models.weights import Mlp, Rotary, RotaryPairs

WIDTH, POSITIONS = 6, 5
ANGLES = torch.linspace(-3, 3, POSITIONS * WIDTH // 2, dtype=torch.float64).view(POSITIONS, -1)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def rotary(pairs: RotaryPairs) -> Rotary:
    if pairs is RotaryPairs.HALVES:
        angles = ANGLES.repeat(1, 2)
    else:
        angles = ANGLES.repeat_interleave(2, dim=1)
    return Rotary(angles.cos(), angles.sin(), pairs)


def turned_as_complex_numbers(x: torch.Tensor, pairs: RotaryPairs) -> torch.Tensor:
    """Each pair as a complex number, times exp(i angle)."""
    part = x[..., :WIDTH]
    if pairs is RotaryPairs.HALVES:
        number = torch.complex(part[..., : WIDTH // 2], part[..., WIDTH // 2 :])
    else:
        number = torch.complex(part[..., 0::2], part[..., 1::2])
    number = number * torch.polar(torch.ones_like(ANGLES), ANGLES)
    if pairs is RotaryPairs.HALVES:
        out = torch.cat((number.real, number.imag), dim=-1)
    else:
        out = torch.stack((number.real, number.imag), dim=-1).flatten(-2)
    return torch.cat((out, x[..., WIDTH:]), dim=-1)


@pytest.mark.parametrize("pairs", RotaryPairs)
@pytest.mark.parametrize("d_head", [WIDTH, WIDTH + 2])
def test_rotate_multiplies_pairs_as_complex_numbers(pairs: RotaryPairs, d_head: int):
    x = drawn(3, 2, POSITIONS, d_head)
    before = x.clone()
    out = rotate(x, rotary(pairs), torch.arange(POSITIONS))
    torch.testing.assert_close(out, turned_as_complex_numbers(x, pairs), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.parametrize("pairs", RotaryPairs)
def test_rotate_has_the_gradient_of_its_values(pairs: RotaryPairs):
    x = drawn(2, POSITIONS, WIDTH + 2).requires_grad_()
    positions = torch.arange(POSITIONS)
    assert torch.autograd.gradcheck(lambda each: rotate(each, rotary(pairs), positions), x)


def test_gated_mlp_is_the_same_with_and_without_gradients():
    mlp = Mlp(drawn(4, 8), None, drawn(4, 8) + 1, drawn(8, 4), None, "silu")
    x = drawn(3, 4)
    assert mlp.w_gate is not None
    expected = (functional.silu(x @ mlp.w_gate) * (x @ mlp.w_in)) @ mlp.w_out
    torch.testing.assert_close(mlp_output(x, mlp), expected)
    with torch.no_grad():
        torch.testing.assert_close(mlp_output(x, mlp), expected)
    assert torch.autograd.gradcheck(lambda each: mlp_output(each, mlp), x.requires_grad_())
