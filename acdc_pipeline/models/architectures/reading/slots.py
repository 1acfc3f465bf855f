"""Projections of queries, keys and values, from the attention module of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, find, find_optional
from acdc_pipeline.models.architectures.reading.blocks import drop_zero, linear

Slots = dict[str, Any]
"""Fields of an `Attention` that say how queries, keys and values are made of its input."""


def read_slots(attention: Any, architecture: ModuleArchitecture, config: Any) -> Slots:
    """Return matrices and biases of the three slots, and the gate."""
    heads = architecture.count_heads(attention, config)
    d_head = architecture.head_width(attention, config)
    found = architecture.slot_projections(attention, config)
    if found is None:
        found = _named_projections(attention, architecture, heads, d_head)
    kv_heads = found["k"][0].shape[0] // d_head
    slots: Slots = {}
    for slot, (weight, bias) in found.items():
        count = heads if slot == "q" else kv_heads
        slots[f"w_{slot}"], slots[f"b_{slot}"] = _by_head(weight, bias, count)
    read_gate(slots, attention, architecture, heads)
    slots["gate"] = gate_kind(slots["w_q"].shape[2] - d_head, slots["w_v"].shape[2])
    return slots


def read_gate(slots: Slots, attention: Any, architecture: ModuleArchitecture, heads: int) -> None:
    """Put the columns of a gate, where it is a projection of its own, after those of the queries.

    Raises:
        UnsupportedModel: queries are computed from a latent, which the gate does not read.
    """
    gate = find_optional(attention, architecture.attn_gate)
    if gate is None:
        return
    if slots.get("q_latent") is not None:
        raise UnsupportedModel("a gate beside queries from a latent is not reproduced")
    weight, bias = linear(gate)
    _add_columns(slots, *_by_head(weight.T, bias, heads))


def gate_kind(columns: int, d_v: int) -> Literal["elements", "heads"] | None:
    """Return the kind of a gate with this number of columns per head."""
    if columns not in (0, 1, d_v):
        raise UnsupportedModel(f"a gate of {columns} columns per head is not reproduced")
    return None if columns == 0 else "elements" if columns == d_v else "heads"


def _by_head(
    weight: Float[Tensor, "out d_model"], bias: Float[Tensor, " out"] | None, heads: int
) -> tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"] | None]:
    bias = drop_zero(bias)
    parts = weight.reshape(heads, -1, weight.shape[1]).transpose(1, 2)
    return parts, None if bias is None else bias.reshape(heads, -1)


def _add_columns(
    slots: Slots,
    weight: Float[Tensor, "head d_model gate"],
    bias: Float[Tensor, "head gate"] | None,
) -> None:
    """Put the columns of a gate after those of the queries."""
    w_q, b_q = slots["w_q"], slots["b_q"]
    slots["w_q"] = torch.cat([w_q, weight], -1)
    if b_q is not None or bias is not None:
        pairs = ((b_q, w_q), (bias, weight))
        parts = [w.new_zeros(w.shape[0], w.shape[2]) if b is None else b for b, w in pairs]
        slots["b_q"] = torch.cat(parts, -1)


def _named_projections(
    attention: Any, architecture: ModuleArchitecture, heads: int, d_head: int
) -> Mapping[str, tuple[Float[Tensor, "_ d_model"], Float[Tensor, " _"] | None]]:
    """Return weight and bias of the three slots, head after head."""
    if not architecture.qkv:
        names = {"q": architecture.q, "k": architecture.k, "v": architecture.v}
        found = {slot: linear(find(attention, name)) for slot, name in names.items()}
        return {slot: (weight.T, bias) for slot, (weight, bias) in found.items()}
    weight, bias = linear(find(attention, architecture.qkv))
    kv_heads = (weight.shape[1] // d_head - heads) // 2
    weights = split_fused(weight.T, architecture.qkv_split, heads, kv_heads)
    biases: Sequence[Any] = (None, None, None)
    if bias is not None:
        split = split_fused(bias[:, None], architecture.qkv_split, heads, kv_heads)
        biases = [part[:, 0] for part in split]
    return dict(zip("qkv", zip(weights, biases, strict=True), strict=True))


def split_fused(
    fused: Float[Tensor, "out d_in"], order: str, heads: int, kv_heads: int
) -> Sequence[Float[Tensor, "_ d_in"]]:
    """Return the rows of q, k and v, each head after head, of one projection.

    Args:
        order: as `ModuleArchitecture.qkv_split`.
    """
    d_head = fused.shape[0] // (heads + 2 * kv_heads)
    if order == "blocks":
        return fused.split([heads * d_head, kv_heads * d_head, kv_heads * d_head])
    # `heads` is `groups` with a key/value head for each query head.
    grouped = fused.reshape(kv_heads, heads // kv_heads + 2, d_head, fused.shape[1])
    parts = grouped[:, :-2], grouped[:, -2], grouped[:, -1]
    return [part.reshape(-1, fused.shape[1]) for part in parts]
