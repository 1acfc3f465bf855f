"""The attention of one layer, head by head: pattern and output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import (
    Stream,
    normalise,
    normalise_parts,
    project,
    soft_cap,
    widen,
)
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.slots import (
    Slots,
    finish_rows,
    finish_slot,
    normalise_mixed,
    project_slot,
    project_slots,
    split_gate,
)
from acdc_pipeline.graph import SLOTS, Slot
from acdc_pipeline.models.weights import Attention, Block


def run_heads(
    attn: Attention, x: Stream, allowed: Bool[Tensor, "pos pos"]
) -> Float[Tensor, "head batch pos d_model"]:
    """The outputs of all heads of a layer for one normalised input, before any norm after them."""
    batch, pos, _ = x.shape
    parts = project_groups(attn, x.reshape(1, batch * pos, -1))
    at: Slots = {slot: part.unflatten(1, (batch, pos)) for slot, part in parts.items()}
    z = mix_groups(attn, at, allowed)
    # For all prompts at once: by prompt, the product would copy the weights for each of them.
    return project(z.flatten(1, 2), attn.w_o, None).unflatten(1, (batch, pos))


def project_groups(
    attn: Attention, rows: Float[Tensor, "1 rows d_model"]
) -> dict[Slot, Float[Tensor, "_ rows _"]]:
    """The queries of every head, and the keys and values of every key/value head, for one input.

    `project_slots` has a copy of keys and values for each query head.
    """
    every = range(attn.w_q.shape[0])
    groups = every[:: attn.heads_per_kv]
    of_slot: dict[Slot, range] = {"q": every, "k": groups, "v": groups}
    return {slot: project_slot(attn, slot, of_slot[slot], rows) for slot in SLOTS}


def mix_groups(
    attn: Attention, parts: Slots, allowed: Bool[Tensor, "pos pos"]
) -> Float[Tensor, "head rows pos d_v"]:
    """Each head's mixed values, from `project_groups` at every position of some prompts."""
    every = range(attn.w_q.shape[0])
    positions = torch.arange(parts["k"].shape[2], device=parts["k"].device)
    queries, gate = split_gate(attn, parts["q"])
    unfinished: Slots = {"q": queries, "k": parts["k"], "v": parts["v"]}
    q, k, v = (
        finish_rows(part, attn, slot, range(len(part)), positions)
        for slot, part in unfinished.items()
    )
    if attn.heads_per_kv > 1:
        k, v = (part.repeat_interleave(attn.heads_per_kv, dim=0) for part in (k, v))
    z = attention_pattern(q, k, attn, every, positions, allowed) @ v
    return normalise_mixed(attn, z if gate is None else z * gate)


def attend(
    block: Block,
    heads: Sequence[int],
    slots: Slots,
    allowed: Bool[Tensor, "pos pos"],
    answers: Layout | None = None,
) -> Float[Tensor, "head rows _ d_model"]:
    """The outputs of these query heads, from their projections.

    If heads depend on one another (`Block.coupled`), all heads of the layer must be given.

    Args:
        answers: where the queries are, each a row of one position; None for every position.
    """
    z = _mix_values(block.attention, heads, slots, allowed, answers)
    w_o = block.attention.w_o
    if list(heads) != list(range(len(w_o))):
        w_o = w_o.index_select(0, torch.tensor(heads, device=w_o.device))
    rows = project(z.flatten(1, 2), w_o, None)
    return normalise_outputs(block, rows.unflatten(1, z.shape[1:3]))


def normalise_outputs(
    block: Block, written: Float[Tensor, "head batch pos d_model"]
) -> Float[Tensor, "head batch pos d_model"]:
    """Each head's share of what the norm after attention, if any, makes of their sum."""
    norm = block.post_attn
    return written if norm is None else normalise_parts(written, written.sum(0), norm)


def run_attention(block: Block, stream: Stream) -> Stream:
    """The sum of the outputs of all heads of a layer that read the same stream."""
    attn = block.attention
    slots = project_slots(attn, normalise(stream, block.norm_attn))
    allowed = visible_keys(attn, stream.shape[1], stream.device)
    z = _mix_values(attn, range(attn.w_q.shape[0]), slots, allowed)
    return write_mixed(block, z.permute(1, 2, 0, 3))


def write_mixed(block: Block, z: Float[Tensor, "*rows head d_v"]) -> Float[Tensor, "*rows d_model"]:
    """The sum of what all heads of a layer write for their mixed values, after any norm of it."""
    flat = z.flatten(-2)
    total = flat @ widen(block.attention.w_o, flat).flatten(0, 1)
    return total if block.post_attn is None else normalise(total, block.post_attn)


def _mix_values(
    attn: Attention,
    heads: Sequence[int],
    slots: Slots,
    allowed: Bool[Tensor, "pos pos"],
    answers: Layout | None = None,
) -> Float[Tensor, "head rows _ d_v"]:
    """Each head's values, summed with its pattern as weights, times its gate, normalised."""
    at = positions = torch.arange(slots["k"].shape[2], device=slots["k"].device)
    queries, gate = split_gate(attn, slots["q"])
    k, v = (finish_slot(slots[slot], attn, slot, heads, positions) for slot in ("k", "v"))
    if answers is not None:
        at, allowed = answers.answer_pos[:, None], allowed[answers.answer_pos][:, None]
        k, v = answers.keys_of_answers(k), answers.keys_of_answers(v)
    q = finish_slot(queries, attn, "q", heads, at)
    z = attention_pattern(q, k, attn, heads, at, allowed) @ v
    return normalise_mixed(attn, z if gate is None else z * gate)


def attention_pattern(
    q: Float[Tensor, "*lead query d_qk"],
    k: Float[Tensor, "*lead_k key d_qk"],
    attn: Attention,
    heads: Sequence[int],
    positions: Int[Tensor, "*at query"],
    allowed: Bool[Tensor, "*at query key"],
) -> Float[Tensor, "*out query key"]:
    """Softmax of scaled, capped and biased q·k over the keys that each query may see.

    With sinks, the weights of a query sum to less than 1. In differential attention the result is
    the difference of the two patterns, see `Difference`.

    Args:
        heads: those of the first axis of `q`.
        positions: of the queries; keys are at 0, 1, ...
    """
    if attn.difference is None:
        return _one_pattern(q, k, attn, heads, positions, allowed)
    first, second = (
        _one_pattern(one_q, one_k, attn, heads, positions, allowed)
        for one_q, one_k in zip(q.chunk(2, dim=-1), k.chunk(2, dim=-1), strict=True)
    )
    return first - attn.difference.factor * second


def _one_pattern(
    q: Float[Tensor, "*lead query d_q"],
    k: Float[Tensor, "*lead_k key d_q"],
    attn: Attention,
    heads: Sequence[int],
    positions: Int[Tensor, "*at query"],
    allowed: Bool[Tensor, "*at query key"],
) -> Float[Tensor, "*out query key"]:
    scores = scaled_scores(q, k, attn)
    ones = [1] * (scores.dim() - 1)
    if attn.alibi is not None:
        bias = attn.alibi[list(heads)]
        at_queries = bias[:, positions, None]
        between = [1] * (scores.dim() - at_queries.dim())
        at_queries = at_queries.reshape(len(bias), *between, *at_queries.shape[1:])
        at_keys = bias[:, : k.shape[-2]].reshape(len(bias), *ones[1:], -1)
        scores = scores + (at_keys - at_queries)
    scores = scores.masked_fill(~allowed, float("-inf"))
    if attn.sinks is None:
        return scores.softmax(dim=-1)
    sinks = attn.sinks[list(heads)].view(-1, *ones).expand(*scores.shape[:-1], 1)
    return torch.cat((scores, sinks), dim=-1).softmax(dim=-1)[..., :-1]


def scaled_scores(
    q: Float[Tensor, "*lead query d_qk"], k: Float[Tensor, "*lead_k key d_qk"], attn: Attention
) -> Float[Tensor, "*out query key"]:
    """Scaled and capped q·k."""
    return soft_cap(torch.matmul(q, k.transpose(-2, -1)) * attn.scale, attn.score_cap)


def visible_keys(attn: Attention, pos: int, device: torch.device) -> Bool[Tensor, "pos pos"]:
    """The keys that each query position may see."""
    full = torch.ones(pos, pos, dtype=torch.bool, device=device)
    if attn.chunk is not None:
        chunk = torch.arange(pos, device=device) // attn.chunk
        full = chunk[:, None] == chunk
    if attn.direction == "bidirectional":
        return full
    causal = full.tril()
    return causal if attn.window is None else causal.triu(1 - attn.window)
