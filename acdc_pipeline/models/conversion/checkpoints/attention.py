"""What attention leaves out of its matrices: positions, the mask, the scale of scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.conversion.checkpoints.forms import shape_of
from acdc_pipeline.models.conversion.checkpoints.settings import (
    ASSUMED,
    FROM_TENSORS,
    POSITIONS,
    Setting,
)

_MASKS = ("mask", "tril", "attn.bias")
# Rotary tables are float32 as a rule, whose angles are inexact at positions far behind these.
_COMPARED_POSITIONS, _TABLE_TOLERANCE = 1024, 1e-3


def infer_positions(
    facts: dict[str, Setting],
    tensors: dict[str, Tensor],
    buffers: Mapping[str, Tensor],
    settings: Mapping[str, Setting],
    changed: list[str],
) -> None:
    """Add the kind of positions and its settings to `facts`, and complete `tensors`.

    A model without positions gets learned ones of zeros. Rotary dimensions are reordered into
    adjacent pairs, which is the only form of the format. What is done is added to `changed`.

    Raises:
        InvalidInput: neither the tensors nor `settings` tell the kind or the longest prompt, or
            rotary tables are not those of the settings.
        UnsupportedModel: a base of rotary positions that the format cannot store.
    """
    name = "positional_embedding_type"
    given = settings.get(name)
    if "pos_embed.W_pos" in tensors:
        facts[name] = Setting("standard", FROM_TENSORS)
        facts["n_ctx"] = Setting(shape_of(tensors, "pos_embed.W_pos", 2)[0], FROM_TENSORS)
        return
    tables = {n: tensor for n, tensor in buffers.items() if n.endswith("attn.rotary_sin")}
    shapes = [shape_of(tables, n, 2) for n in tables]
    if given is None and tables:
        given = Setting("rotary", "rotary tables")
    if given is None or given.value == "standard":
        raise InvalidInput(
            "the checkpoint holds no position embedding, and rotary positions leave no tensors",
            field=name,
            allowed=", ".join(POSITIONS[1:]),
            fix="give --positions none for a model without positions; rotary also needs --config "
            "with rotary_dim, rotary_base and rotary_adjacent_pairs where they are not the usual",
        )
    facts[name] = given
    squares = [t.shape[-1] for n, t in buffers.items() if n.endswith(_MASKS)]
    lengths = [shape[0] for shape in shapes] or [n for n in squares if n > 1]
    found = Setting(lengths[0], FROM_TENSORS) if lengths else settings.get("n_ctx")
    if found is None:
        raise InvalidInput(
            "the tensors do not tell the longest prompt", field="n_ctx", fix="give --n-ctx"
        )
    facts["n_ctx"] = found
    if given.value == "none":
        d_model = facts["d_model"].value
        tensors["pos_embed.W_pos"] = tensors["embed.W_E"].new_zeros(found.value, d_model)
        changed.append("pos_embed.W_pos is zero: the model has no positions")
        return
    width = shapes[0][1] if shapes else facts["d_head"].value
    facts["rotary_dim"] = settings.get(
        "rotary_dim", Setting(width, FROM_TENSORS if tables else ASSUMED)
    )
    facts["rotary_base"] = settings.get("rotary_base", Setting(10000, ASSUMED))
    if facts["rotary_base"].value != int(facts["rotary_base"].value):
        raise UnsupportedModel("rotary bases are whole numbers in this format", field="rotary_base")
    pairs = settings.get("rotary_adjacent_pairs", Setting(False, ASSUMED))
    facts["rotary_adjacent_pairs"] = pairs
    rotated, d_head = facts["rotary_dim"].value, facts["d_head"].value
    if rotated % 2 or rotated > d_head:
        raise InvalidInput(
            f"{rotated} of {d_head} dimensions cannot be rotated in pairs", field="rotary_dim"
        )
    for table_name, table in tables.items():
        _require_table(
            table_name, table, rotated, int(facts["rotary_base"].value), adjacent=pairs.value
        )
    if not pairs.value:
        _pair_adjacent(tensors, rotated)
        changed.append(
            "dimensions of queries and keys are reordered, so that those rotated together are "
            "adjacent"
        )


def _require_table(name: str, table: Tensor, rotated: int, base: int, *, adjacent: bool) -> None:
    """Refuse a stored table of sines [position, dimension] of another base, width or order."""
    rows = table[:_COMPARED_POSITIONS].double()
    half = rotated // 2
    frequencies = base ** (-torch.arange(half, dtype=torch.float64) / half)
    each = frequencies.repeat_interleave(2) if adjacent else frequencies.repeat(2)
    expected = torch.outer(torch.arange(len(rows), dtype=torch.float64), each).sin()
    precision = torch.finfo(table.dtype).eps if table.is_floating_point() else 0.0
    atol = max(_TABLE_TOLERANCE, precision)
    if rows.shape == expected.shape and torch.allclose(rows, expected, rtol=0, atol=atol):
        return
    order = "next to each other" if adjacent else "half the dimensions apart"
    raise InvalidInput(
        f"{name} is not the table of base {base} for {rotated} dimensions whose pairs are {order}",
        field="rotary_base",
        fix="give rotary_base and rotary_adjacent_pairs (and rotary_dim) in --config",
    )


def _pair_adjacent(tensors: dict[str, Tensor], rotated: int) -> None:
    """Reorder heads' dimensions i and i + rotated/2 to 2i and 2i + 1; scores stay the same."""
    for name, tensor in tensors.items():
        if re.search(r"attn\.[Wb]_[QK]$", name):
            order = torch.arange(tensor.shape[-1])
            order[:rotated] = order[:rotated].view(2, -1).T.flatten()
            tensors[name] = tensor[..., order]


def require_causal_masks(buffers: Mapping[str, Tensor]) -> None:
    """Refuse attention masks other than the causal one: no other is computed."""
    for name, mask in buffers.items():
        square = mask.dim() >= 2 and mask.shape[-1] == mask.shape[-2]
        if not square or not name.endswith(_MASKS):
            continue
        if not torch.equal(mask != 0, torch.ones_like(mask, dtype=torch.bool).tril()):
            raise UnsupportedModel(
                "is not the causal mask, which lets a token see itself and all before it",
                field=name,
                fix="for attention in both directions give attention_dir in --config; other "
                "masks are not reproduced",
            )


def fold_scale(
    facts: dict[str, Setting],
    tensors: dict[str, Tensor],
    settings: Mapping[str, Setting],
    changed: list[str],
) -> None:
    """Multiply the scale of scores into the queries, where it is not 1 / sqrt(d_head).

    The number that scores are divided by is added to `facts` as `attn_scale`.
    """
    usual = math.sqrt(facts["d_head"].value)
    found = settings.get("attn_scale", Setting(usual, ASSUMED))
    if "use_attn_scale" in settings and not settings["use_attn_scale"].value:
        found = Setting(1.0, settings["use_attn_scale"].source)
    facts["attn_scale"], divisor = found, found.value
    if math.isclose(divisor, usual, rel_tol=1e-12):
        return
    for name in [n for n in tensors if re.search(r"attn\.[Wb]_Q$", n)]:
        tensors[name] = tensors[name] * (usual / divisor)
    changed.append(
        f"queries are multiplied by {usual / divisor:.6g}: scores are divided by {divisor:.6g} "
        f"and not by the square root of {facts['d_head'].value}"
    )
