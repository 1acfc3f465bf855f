"""Prompts of similar length together, each only as far as its last answer.

Under causal attention nothing behind an answer reaches it: neither padding nor what a prompt says
later has to be computed. Templates of one task differ in length by half, so a batch that is as wide
as the longest prompt computes a third more tokens than there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.heads.batches import rows_in_cache
from acdc_pipeline.heads.layer_run import Places
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet


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
