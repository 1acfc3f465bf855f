"""The attention-only transformer that the zoo trains, and its TransformerLens-format tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class AttentionOnlyConfig:
    """Shape of an attention-only model; `positions` is "learned" or "none"."""

    n_layers: int
    n_heads: int
    d_model: int
    n_ctx: int
    vocab: int
    positions: str = "learned"

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class AttentionBlock(nn.Module):
    """LayerNorm, then causal attention with one fused projection for q, k and v."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.ln = nn.LayerNorm(config.d_model, eps=LAYER_NORM_EPS)
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)

    def forward(self, residual: Float[Tensor, "batch pos d_model"]) -> Tensor:
        batch, pos, d_model = residual.shape
        q, k, v = (
            self.qkv(self.ln(residual))
            .view(batch, pos, 3, self.n_heads, d_model // self.n_heads)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, pos, d_model))


class AttentionOnly(nn.Module):
    """Token (and position) embedding, attention blocks, final LayerNorm, untied unembedding."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.d_model)
        self.pos_embed = nn.Embedding(config.n_ctx, config.d_model)
        self.blocks = nn.ModuleList([AttentionBlock(config) for _ in range(config.n_layers)])
        self.ln_final = nn.LayerNorm(config.d_model, eps=LAYER_NORM_EPS)
        self.unembed = nn.Linear(config.d_model, config.vocab, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        deviation = 1 / math.sqrt(self.config.d_model)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = 1 / math.sqrt(self.config.n_layers) if name.endswith("out.weight") else 1.0
                nn.init.normal_(parameter, std=deviation * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if self.config.positions == "none":
            # The format has no way to say "no positions": zeros that never train are the same.
            nn.init.zeros_(self.pos_embed.weight)
            self.pos_embed.weight.requires_grad_(False)

    def hidden(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """What the unembedding reads: the normalised final residual stream."""
        residual = self.embed(tokens)
        if self.config.positions == "learned":
            residual = residual + self.pos_embed.weight[: tokens.shape[1]]
        for block in self.blocks:
            residual = residual + block(residual)
        return self.ln_final(residual)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        return self.unembed(self.hidden(tokens))


def tl_config(config: AttentionOnlyConfig) -> dict[str, Any]:
    """The `TransformerBridgeConfig` fields of this model."""
    return {
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "d_head": config.d_head,
        "n_heads": config.n_heads,
        "n_ctx": config.n_ctx,
        "d_vocab": config.vocab,
        "attn_only": True,
        "normalization_type": "LN",
        "positional_embedding_type": "standard",
        "eps": LAYER_NORM_EPS,
        "init_weights": False,
    }


def tl_tensors(model: AttentionOnly) -> dict[str, Tensor]:
    """The weights under TransformerLens names and shapes (see `models/tl_format`)."""
    config = model.config
    heads, d_head, d_model = config.n_heads, config.d_head, config.d_model
    tensors = {
        "embed.W_E": model.embed.weight,
        "pos_embed.W_pos": model.pos_embed.weight,
        "ln_final.w": model.ln_final.weight,
        "ln_final.b": model.ln_final.bias,
        "unembed.W_U": model.unembed.weight.T,
        "unembed.b_U": torch.zeros(config.vocab),
    }
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, AttentionBlock)
        prefix = f"blocks.{layer}"
        tensors[f"{prefix}.ln1.w"] = block.ln.weight
        tensors[f"{prefix}.ln1.b"] = block.ln.bias
        weights = block.qkv.weight.view(3, heads, d_head, d_model).transpose(2, 3)
        biases = block.qkv.bias.view(3, heads, d_head)
        for slot, weight, bias in zip("QKV", weights, biases, strict=True):
            tensors[f"{prefix}.attn.W_{slot}"] = weight
            tensors[f"{prefix}.attn.b_{slot}"] = bias
        tensors[f"{prefix}.attn.W_O"] = block.out.weight.T.reshape(heads, d_head, d_model)
        tensors[f"{prefix}.attn.b_O"] = block.out.bias
    return {name: tensor.detach() for name, tensor in tensors.items()}
