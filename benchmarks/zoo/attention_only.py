"""The attention-only transformer that the zoo trains, and its TransformerLens-format tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.tl_format import check_tensors
from acdc_pipeline.specs.base import read_json

LAYER_NORM_EPS = 1e-5
# Sequences are short: slower rotations would not separate positions.
ROTARY_BASE = 20


@dataclass(frozen=True)
class AttentionOnlyConfig:
    """Shape of an attention-only model.

    `positions` is "rotary", on the first quarter of each head, or "none". With learned positions,
    two layers would learn to find a position by its number ("pointer arithmetic") instead of
    relative to the current one, and no induction head would form.
    """

    n_layers: int
    n_heads: int
    d_model: int
    n_ctx: int
    vocab: int
    d_head: int
    positions: Literal["rotary", "none"] = "rotary"

    @property
    def rotary_dim(self) -> int:
        """Number of dimensions of each head that rotate."""
        return self.d_head // 4


class AttentionBlock(nn.Module):
    """LayerNorm, then causal attention with one fused projection for q, k and v."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.heads = (config.n_heads, config.d_head)
        self.rotating = config.rotary_dim if config.positions == "rotary" else 0
        width = config.n_heads * config.d_head
        self.ln = nn.LayerNorm(config.d_model, eps=LAYER_NORM_EPS)
        self.qkv = nn.Linear(config.d_model, 3 * width)
        self.out = nn.Linear(width, config.d_model)

    def forward(self, residual: Float[Tensor, "batch pos d_model"]) -> Tensor:
        batch, pos, _ = residual.shape
        q, k, v = (
            self.qkv(self.ln(residual)).view(batch, pos, 3, *self.heads).permute(2, 0, 3, 1, 4)
        )
        if self.rotating:
            q, k = rotate(q, self.rotating), rotate(k, self.rotating)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def rotate(x: Float[Tensor, "batch head pos d_head"], width: int) -> Tensor:
    """Apply rotary positions to adjacent pairs of the first `width` dimensions."""
    rates = ROTARY_BASE ** (-torch.arange(0, width, 2) / width)
    angles = (torch.arange(x.shape[-2])[:, None] * rates).repeat_interleave(2, dim=-1)
    first = x[..., :width]
    partner = torch.stack((-first[..., 1::2], first[..., 0::2]), dim=-1).flatten(-2)
    return torch.cat((first * angles.cos() + partner * angles.sin(), x[..., width:]), dim=-1)


class AttentionOnly(nn.Module):
    """Token embedding, attention blocks, final LayerNorm, untied unembedding."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.d_model)
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

    def hidden(
        self, tokens: Int[Tensor, "batch pos"], n_blocks: int | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the normalised residual stream after `n_blocks`, or after all blocks."""
        residual = self.embed(tokens)
        for block in self.blocks[:n_blocks]:
            residual = residual + block(residual)
        return self.ln_final(residual)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        return self.unembed(self.hidden(tokens))


def tl_config(config: AttentionOnlyConfig) -> dict[str, Any]:
    """Return the `TransformerBridgeConfig` fields of this model."""
    return {
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "d_head": config.d_head,
        "n_heads": config.n_heads,
        "n_ctx": config.n_ctx,
        "d_vocab": config.vocab,
        "attn_only": True,
        "normalization_type": "LN",
        "eps": LAYER_NORM_EPS,
        "init_weights": False,
        **_position_fields(config),
    }


def _position_fields(config: AttentionOnlyConfig) -> dict[str, Any]:
    if config.positions == "none":
        # The format has no way to say "no positions": learned ones that are zero are the same.
        return {"positional_embedding_type": "standard"}
    return {
        "positional_embedding_type": "rotary",
        "rotary_dim": config.rotary_dim,
        "rotary_base": ROTARY_BASE,
        "rotary_adjacent_pairs": True,
    }


def tl_tensors(model: AttentionOnly) -> dict[str, Tensor]:
    """Return the weights under the names and shapes of `models/tl_format`."""
    config = model.config
    heads, d_head, d_model = config.n_heads, config.d_head, config.d_model
    tensors = {
        "embed.W_E": model.embed.weight,
        "ln_final.w": model.ln_final.weight,
        "ln_final.b": model.ln_final.bias,
        "unembed.W_U": model.unembed.weight.T,
        "unembed.b_U": torch.zeros(config.vocab),
    }
    if config.positions == "none":
        tensors["pos_embed.W_pos"] = torch.zeros(config.n_ctx, d_model)
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


def from_tl_tensors(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> AttentionOnly:
    """Return the model from the result of `tl_config` and `tl_tensors`."""
    model = AttentionOnly(
        AttentionOnlyConfig(
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            d_model=config["d_model"],
            n_ctx=config["n_ctx"],
            vocab=config["d_vocab"],
            d_head=config["d_head"],
            positions="rotary" if config["positional_embedding_type"] == "rotary" else "none",
        )
    )
    state = {
        "embed.weight": tensors["embed.W_E"],
        "ln_final.weight": tensors["ln_final.w"],
        "ln_final.bias": tensors["ln_final.b"],
        "unembed.weight": tensors["unembed.W_U"].T,
    }
    for layer in range(config["n_layers"]):
        attn, block = f"blocks.{layer}.attn", f"blocks.{layer}"
        weights = [tensors[f"{attn}.W_{slot}"].transpose(1, 2).flatten(0, 1) for slot in "QKV"]
        state[f"{block}.ln.weight"] = tensors[f"{block}.ln1.w"]
        state[f"{block}.ln.bias"] = tensors[f"{block}.ln1.b"]
        state[f"{block}.qkv.weight"] = torch.cat(weights)
        state[f"{block}.qkv.bias"] = torch.cat([tensors[f"{attn}.b_{s}"].flatten() for s in "QKV"])
        state[f"{block}.out.weight"] = tensors[f"{attn}.W_O"].flatten(0, 1).T
        state[f"{block}.out.bias"] = tensors[f"{attn}.b_O"]
    model.load_state_dict(state)
    return model.requires_grad_(False)


def read_tl_directory(
    path: Path, dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config and the tensors, cast to `dtype`, of a TransformerLens-format directory.

    Raises:
        InvalidInput: a file is missing or unreadable, or the tensors do not fit the config.
    """
    try:
        config = read_json((path / "config.json").read_bytes())
        stored = load_file(path / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidInput(
            f"not a readable TransformerLens-format directory ({error})",
            where=str(path),
            allowed="config.json and model.safetensors",
        ) from error
    check_tensors(config, stored, where=str(path / "model.safetensors"))
    return config, {name: tensor.to(dtype) for name, tensor in stored.items()}


def is_tl_directory(path: Path) -> bool:
    """Return whether `config.json` describes a model in the TransformerLens format."""
    file = path / "config.json"
    if not file.is_file():
        return False
    try:
        config = read_json(file.read_bytes())
    except ValueError:
        return False
    return isinstance(config, dict) and "model_type" not in config and "d_vocab" in config
