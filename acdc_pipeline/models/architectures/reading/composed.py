"""Modules that call several modules of a layer as one part, or one of them in another way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SummedModules(nn.Module):
    """The sum of what two modules make of the same tokens."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for `x`, [batch, position, d_model]."""
        return _output(self.first(x)) + _output(self.second(x))


class RescaledInput(nn.Module):
    """A module that reads its input times a constant."""

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for `x`, [batch, position, d_model]."""
        return _output(self.module(self.factor * x))


class MlpAndExperts(nn.Module):
    """The MLP and the experts of a layer of Gemma 4, with the norms before and after each.

    Both read the residual stream itself; the router has a norm of its own.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.mlp, self.router, self.experts = layer.mlp, layer.router, layer.experts
        self.norm_mlp = layer.pre_feedforward_layernorm
        self.norm_experts = layer.pre_feedforward_layernorm_2
        self.post_mlp = layer.post_feedforward_layernorm_1
        self.post_experts = layer.post_feedforward_layernorm_2

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both for the stream `x`, [batch, position, d_model]."""
        tokens = x.reshape(-1, x.shape[-1])
        _, weights, chosen = self.router(tokens)
        routed = self.experts(self.norm_experts(tokens), chosen, weights).reshape(x.shape)
        return self.post_mlp(self.mlp(self.norm_mlp(x))) + self.post_experts(routed)


class WholeText(nn.Module):
    """A recurrent block of RecurrentGemma that reads whole texts and keeps no state."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for `x`, [batch, position, d_model]."""
        positions = torch.arange(x.shape[1], device=x.device)[None]
        out = self.block(x, positions, None, use_cache=False)
        self.block.rg_lru.recurrent_states = None
        return _output(out)


def _output(result: Any) -> Tensor:
    """Return the output of a module that may return its routing too."""
    return result[0] if isinstance(result, tuple) else result
