"""How many rows go through a model at once, so that a byte budget holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.heads.layer_run import Places
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

MOST_ROWS = 512
"""Rows at once however much memory there is: sums of other shapes round differently, so a run
should not depend on how much of a large memory happens to be free."""

MOST_TOKENS = 8192
"""Tokens of the vocabulary at once, likewise."""

# What a core keeps near it, several times over.
_CACHE_BYTES = 4 * 2**20


def row_bytes(weights: TransformerWeights, pos: int) -> int:
    """Bytes that one row of `pos` tokens needs while it passes a layer.

    Queries, keys, values and what they become; scores, mask and pattern; every head's output, and
    a copy of it; the stream, before and after its norm; an MLP's hidden units before and after
    the activation.
    """
    attn = weights.blocks[0].attn
    n_heads, d_model, d_head = attn.w_q.shape
    mlp = weights.blocks[0].mlp
    d_mlp = 0 if mlp is None else mlp.w_in.shape[1]
    heads = n_heads * (8 * d_head + 3 * pos + 2 * d_model)
    return weights.dtype.itemsize * pos * (heads + 8 * d_model + 4 * d_mlp)


def rows_at_once(weights: TransformerWeights, pos: int, memory: int) -> int:
    """How many rows of `pos` tokens go through the model at once in `memory` bytes, at most 512.

    Raises:
        OutOfMemoryBudget: not even one.
    """
    needed = row_bytes(weights, pos)
    if needed > memory:
        raise OutOfMemoryBudget(
            f"one prompt of {pos} tokens needs {needed} bytes, the budget is {memory}",
            fix="use shorter prompts or a larger memory budget",
        )
    return min(MOST_ROWS, memory // needed)


def rows_in_cache(weights: TransformerWeights, pos: int) -> int:
    """How many rows of `pos` tokens are worth running together; `MOST_ROWS` on other devices.

    On a CPU products of a few hundred tokens already run at full rate, and what lies between them
    (norms, activations) runs several times faster where the hidden units stay in the cache.
    """
    if weights.device.type != "cpu":
        return MOST_ROWS
    mlp = weights.blocks[0].mlp
    widest = max(4 * weights.d_model, 0 if mlp is None else mlp.w_in.shape[1])
    return max(1, _CACHE_BYTES // (weights.dtype.itemsize * pos * widest))


def chunks(total: int, size: int) -> Iterator[slice]:
    """`range(total)` in slices of at most `size`, at least 1."""
    size = max(1, size)
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


@dataclass(frozen=True)
class LengthGroup:
    """Some prompts of a set, cut behind the last answer of the longest.

    Args:
        rows: which prompts of the set.
        width: tokens of each that are computed.
        answers: which answers of the set are theirs.
        answer_row: the prompt of each answer, counted within `rows`.
        answer_pos: the position of each answer.
    """

    rows: Int[Tensor, " row"]
    width: int
    answers: Int[Tensor, " answer"]
    answer_row: Int[Tensor, " answer"]
    answer_pos: Int[Tensor, " answer"]

    def places_in(self, states: int) -> Places:
        """Where the answers stand in `states` copies of the group, one after the other."""
        first = torch.arange(states, device=self.rows.device) * len(self.rows)
        rows = first[:, None] + self.answer_row
        return rows, self.answer_pos.expand_as(rows)


def length_groups(
    weights: TransformerWeights, prompts: PromptSet, states: int
) -> list[LengthGroup]:
    """All prompts that have an answer, in groups of similar length, the shortest first.

    Prompts of one length are in one group, and lengths are put together until `states` copies of
    a group are worth a batch. Where attention looks ahead, whole prompts are in one group.
    """
    rows, positions = prompts.answer_row.tolist(), prompts.answer_pos.tolist()
    widths: dict[int, int] = {}
    for row, pos in zip(rows, positions, strict=True):
        widths[row] = max(widths.get(row, 0), pos + 1)
    if any(block.attn.direction == "bidirectional" for block in weights.blocks):
        widths = dict.fromkeys(widths, prompts.clean.shape[1])
    ordered = sorted(widths, key=lambda row: (widths[row], row))
    groups: list[list[int]] = []
    for row in ordered:
        open_group = groups[-1] if groups else []
        same = bool(open_group) and widths[open_group[-1]] == widths[row]
        enough = len(open_group) * states >= rows_in_cache(weights, widths[row])
        if not open_group or (enough and not same):
            groups.append([row])
        else:
            open_group.append(row)
    return [_group(group, widths[group[-1]], prompts) for group in groups]


def _group(rows: Sequence[int], width: int, prompts: PromptSet) -> LengthGroup:
    device = prompts.clean.device
    place = torch.full((len(prompts.clean),), -1, device=device)
    place[list(rows)] = torch.arange(len(rows), device=device)
    within = place[prompts.answer_row]
    answers = (within >= 0).nonzero().flatten()
    return LengthGroup(
        torch.tensor(rows, device=device),
        width,
        answers,
        within[answers],
        prompts.answer_pos[answers],
    )
