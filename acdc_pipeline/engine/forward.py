"""The clean forward: what every source writes into the residual stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import (
    attention_pattern,
    mlp_output,
    normalise,
    normalise_heads,
    project,
    rotate,
    shares,
    soft_cap,
    widened,
)
from acdc_pipeline.errors import PromptError
from acdc_pipeline.models.weights import Attention, Block, TransformerWeights


@dataclass(frozen=True)
class SourceOutputs:
    """One forward pass, taken apart.

    Args:
        outputs: what each source writes, in the topology's source order.
        final: the residual stream that the logits read, constants included.
    """

    outputs: Float[Tensor, "src batch pos d_model"]
    final: Float[Tensor, "batch pos d_model"]


def run_sources(weights: TransformerWeights, tokens: Int[Tensor, "batch pos"]) -> SourceOutputs:
    """Run the unpatched model and keep every source's output apart.

    Raises:
        PromptError: the prompts are longer than the model's context, or name unknown tokens.
    """
    check_tokens(weights, tokens)
    residual = embed(weights, tokens)
    outputs = [residual[None]]
    for block in weights.blocks:
        allowed = visible_keys(block.attn, tokens.shape[1], tokens.device)
        heads = heads_output(block.attn, normalise(residual, block.norm_attn), allowed)
        if block.post_attn is not None:
            heads = shares(heads, heads.sum(0), block.post_attn)
        attended = residual + heads.sum(0)
        if block.attn.b_o is not None:
            attended = attended + block.attn.b_o
        outputs.append(heads)
        if block.mlp is not None:
            read = residual if weights.parallel else attended
            written = mlp_written(block, read)
            outputs.append(written[None])
            attended = attended + written
        residual = attended
    return SourceOutputs(torch.cat(outputs), residual)


def embed(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_model"]:
    """Token embedding, plus the position embedding where the model has one."""
    embedded = weights.w_e[tokens].to(weights.dtype)
    return embedded if weights.w_pos is None else embedded + weights.w_pos[: tokens.shape[1]]


def heads_output(
    attn: Attention,
    x: Float[Tensor, "batch pos d_model"],
    allowed: Bool[Tensor, "pos pos"],
) -> Float[Tensor, "head batch pos d_model"]:
    """What every head of a layer makes of the same normalised input, before any norm after it."""
    batch, pos, _ = x.shape
    rows = x.reshape(1, batch * pos, -1)
    q = project(rows, attn.w_q, attn.b_q).unflatten(1, (batch, pos))
    k = project(rows, attn.w_k, attn.b_k).unflatten(1, (batch, pos))
    v = project(rows, attn.w_v, attn.b_v).unflatten(1, (batch, pos))
    if attn.q_norm is not None:
        q = normalise_heads(q, attn.q_norm, range(len(q)))
    if attn.k_norm is not None:
        k = normalise_heads(k, attn.k_norm, range(len(k)))
    if attn.rotary is not None:
        positions = torch.arange(pos, device=x.device)
        q, k = rotate(q, attn.rotary, positions), rotate(k, attn.rotary, positions)
    if attn.heads_per_kv > 1:
        k = k.repeat_interleave(attn.heads_per_kv, dim=0)
        v = v.repeat_interleave(attn.heads_per_kv, dim=0)
    z = attention_pattern(q, k, attn, allowed) @ v
    return torch.matmul(z, widened(attn.w_o, z)[:, None])


def logits_of(
    weights: TransformerWeights,
    final: Float[Tensor, "*rows d_model"],
    tokens: Int[Tensor, " token"] | None = None,
) -> Float[Tensor, "*rows _"]:
    """Logits of a final residual stream: of some `tokens`, or of the whole vocabulary."""
    w_u, b_u = weights.w_u, weights.b_u
    if tokens is not None:
        w_u, b_u = w_u[:, tokens], None if b_u is None else b_u[tokens]
    logits = normalise(final, weights.norm_final) @ widened(w_u, final)
    if b_u is not None:
        logits = logits + b_u
    return soft_cap(logits, weights.logit_cap)


def visible_keys(attn: Attention, pos: int, device: torch.device) -> Bool[Tensor, "pos pos"]:
    """Which key each query position may see."""
    full = torch.ones(pos, pos, dtype=torch.bool, device=device)
    if attn.direction == "bidirectional":
        return full
    causal = full.tril()
    return causal if attn.window is None else causal.triu(1 - attn.window)


def mlp_written(block: Block, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
    """What a block's MLP writes when it reads `x`, with the norms before and after it."""
    assert block.mlp is not None
    assert block.norm_mlp is not None, "a block with an MLP has a norm before it"
    written = mlp_output(normalise(x, block.norm_mlp), block.mlp)
    return written if block.post_mlp is None else normalise(written, block.post_mlp)


def check_tokens(weights: TransformerWeights, tokens: Int[Tensor, "batch pos"]) -> None:
    """Raises PromptError if the model has no position or no embedding for some token."""
    tables = [block.attn.rotary for block in weights.blocks]
    longest = min([weights.n_ctx, *(len(table.cos) for table in tables if table is not None)])
    if tokens.shape[1] > longest:
        raise PromptError(
            f"prompts of {tokens.shape[1]} tokens do not fit the model's {longest} positions",
            fix="use shorter prompts",
        )
    vocab = weights.w_e.shape[0]
    if tokens.numel() and (int(tokens.min()) < 0 or int(tokens.max()) >= vocab):
        bad = int(tokens.max()) if int(tokens.max()) >= vocab else int(tokens.min())
        raise PromptError(f"token id {bad} is outside the model's vocabulary of {vocab}")
