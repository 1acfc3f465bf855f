"""Splitting work to fit a memory budget: rows per batch, and prompts grouped by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import head_width, mlp_width
from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.heads.layer_run import Places
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

MOST_ROWS = 512
"""The largest batch, however much memory there is: sums of other shapes round differently, so a
run should not depend on how much of a large memory happens to be free."""

MOST_TOKENS = 8192
"""The largest part of the vocabulary processed at once, for the same reason."""

# Several times the cache of a core.
_CACHE_BYTES = 4 * 2**20


def row_bytes(weights: TransformerWeights, pos: int) -> int:
    """Bytes that one row of `pos` tokens needs in a layer.

    Counts queries, keys, values and their normalised copies; scores, mask and pattern; every head's
    output and a copy of it; the stream before and after its norm; the hidden units of an MLP before
    and after the activation.
    """
    n_heads, d_model = weights.topology.n_heads, weights.d_model
    d_head = head_width(weights)
    heads = n_heads * (8 * d_head + 3 * pos + 2 * d_model)
    return weights.dtype.itemsize * pos * (heads + 8 * d_model + 4 * mlp_width(weights))


def rows_at_once(weights: TransformerWeights, pos: int, memory: int) -> int:
    """How many rows of `pos` tokens fit into `memory` bytes, at most `MOST_ROWS`.

    Raises:
        OutOfMemoryBudget: not even one row fits.
    """
    needed = row_bytes(weights, pos)
    if needed > memory:
        raise OutOfMemoryBudget(
            f"one prompt of {pos} tokens needs {needed} bytes, the budget is {memory}",
            fix="use shorter prompts or a larger memory budget (--memory, or memory of the "
            "profile)",
        )
    return min(MOST_ROWS, memory // needed)


def require_row(weights: TransformerWeights, pos: int, memory: int) -> None:
    """Raise OutOfMemoryBudget if not even one row of `pos` tokens fits into `memory` bytes."""
    rows_at_once(weights, pos, memory)


def rows_in_cache(weights: TransformerWeights, pos: int) -> int:
    """How many rows of `pos` tokens are worth running together; `MOST_ROWS` except on a CPU.

    On a CPU, products of a few hundred tokens already run at full speed, and norms and activations
    run several times faster if the hidden units stay in the cache.
    """
    if weights.device.type != "cpu":
        return MOST_ROWS
    widest = max(4 * weights.d_model, mlp_width(weights))
    return max(1, _CACHE_BYTES // (weights.dtype.itemsize * pos * widest))


def chunks(total: int, size: int) -> Iterator[slice]:
    """Split `range(total)` into slices of at most `size`; a `size` below 1 counts as 1."""
    size = max(1, size)
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


@dataclass(frozen=True)
class LengthGroup:
    """Prompts of similar length, cut after the last answer of the longest.

    Args:
        rows: the indices of the prompts in their set.
        width: the number of tokens of each that are computed.
        answers: the indices of their answers in the set.
        answer_row: the prompt of each answer, as an index into `rows`.
        answer_pos: the position of each answer.
    """

    rows: Int[Tensor, " row"]
    width: int
    answers: Int[Tensor, " answer"]
    answer_row: Int[Tensor, " answer"]
    answer_pos: Int[Tensor, " answer"]

    def places_in(self, states: int) -> Places:
        """The places of the answers in `states` consecutive copies of the group."""
        first = torch.arange(states, device=self.rows.device) * len(self.rows)
        rows = first[:, None] + self.answer_row
        return rows, self.answer_pos.expand_as(rows)

    def select(self, x: Float[Tensor, "*lead batch pos width"]) -> Float[Tensor, "*lead _ _ width"]:
        """The part of `x` that belongs to the group's prompts."""
        return x[..., self.rows, : self.width, :]


def length_groups(
    weights: TransformerWeights, prompts: PromptSet, states: int
) -> list[LengthGroup]:
    """Group all prompts that have an answer by similar length, the shortest first.

    Under causal attention nothing after an answer affects it: neither padding nor later text has to
    be computed. Templates of a task can differ in length by half, so a batch as wide as the longest
    prompt computes a third more tokens than there are.

    Prompts of one length are in one group, and lengths are joined until `states` copies of a group
    fill a batch. Bidirectional attention reads whole prompts, which form a single group.
    """
    rows, positions = prompts.answer_row.tolist(), prompts.answer_pos.tolist()
    widths: dict[int, int] = {}
    for row, pos in zip(rows, positions, strict=True):
        widths[row] = max(widths.get(row, 0), pos + 1)
    if weights.bidirectional:
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
