"""Prompts in batches of similar length, for passes whose results are read at the answers alone.

Under causal attention nothing depends on the positions behind a prompt's last answer. Each batch
ends there, so that prompts run together with little padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.layout import Layout


@dataclass(frozen=True)
class AnswerBatch:
    """Some prompts, up to the position of the last answer among them.

    Args:
        prompts: their numbers among all prompts.
        layout: of these prompts and their answers.
        answers: the numbers of these answers among all answers.
    """

    prompts: list[int]
    layout: Layout
    answers: Int[Tensor, " answer"]

    def tokens_of(self, tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "some _"]:
        """The tokens of these prompts, out of those of all prompts."""
        return tokens[as_index(self.prompts), : self.layout.pos]

    def outputs_of(self, outputs: Float[Tensor, "src batch pos d_model"]) -> OutputsOfPrompts:
        """The outputs of sources on these prompts."""
        return OutputsOfPrompts(outputs[:, :, : self.layout.pos], as_index(self.prompts))


class OutputsOfPrompts:
    """The outputs of sources on some prompts, of which those that are read are copied alone.

    Args:
        outputs: on all prompts.
        prompts: which of them; None means all.
    """

    def __init__(
        self,
        outputs: Float[Tensor, "src batch pos d_model"],
        prompts: slice | list[int] | None = None,
    ) -> None:
        self._some = None if prompts is None or isinstance(prompts, slice) else prompts
        self.outputs = outputs[:, prompts] if isinstance(prompts, slice) else outputs
        self._index = torch.tensor(self._some or [], device=outputs.device)

    @property
    def shape(self) -> torch.Size:
        """Prompts, positions and dimensions."""
        shape = self.outputs.shape[1:]
        return shape if self._some is None else torch.Size((len(self._some), *shape[1:]))

    def of(self, source: int, out: Float[Tensor, "some pos d_model"] | None = None) -> Stream:
        """The output of one source, written to `out` where it is given; else it may be a view."""
        output = self.outputs[source]
        if self._some is not None:
            return torch.index_select(output, 0, self._index, out=out)
        return output if out is None else out.copy_(output)

    def sum(self, first: int, end: int) -> Stream:
        """The sum of the outputs of sources `first` to `end` - 1."""
        some = self.outputs[first:end]
        if self._some is None:
            return some.sum(0)
        total = some.new_empty(self.shape)
        for prompt, to in zip(self._some, total, strict=True):
            torch.sum(some[:, prompt], 0, out=to)
        return total


def answer_batches(
    layout: Layout, *, most_prompts: int, least_rows: int, one_sided: bool
) -> list[AnswerBatch]:
    """Divide the prompts of `layout`, the shortest first.

    Args:
        most_prompts: in a batch of `least_rows` or more.
        least_rows: prompts times positions of a batch, where there are as many.
        one_sided: whether attention is causal; otherwise every position counts.
    """
    ends = torch.full((layout.batch,), layout.pos)
    if one_sided:
        at = layout.answer_pos.cpu() + 1
        ends = torch.zeros_like(ends).scatter_reduce_(0, layout.answer_row.cpu(), at, "amax")
    order = ends.argsort(stable=True).tolist()
    length = ends.tolist()
    left = sum(length)
    batches: list[list[int]] = [[]]
    for prompt in order:
        batch, end = batches[-1], length[prompt]
        full = len(batch) * length[batch[-1]] >= least_rows if batch else False
        longer = full and end > length[batch[-1]] and left >= least_rows
        if full and (longer or len(batch) >= most_prompts):
            batches.append([])
        batches[-1].append(prompt)
        left -= end
    return [_batch(sorted(batch), max(length[i] for i in batch), layout) for batch in batches]


def as_index(places: Sequence[int]) -> slice | list[int]:
    """Consecutive numbers as a slice, which indexes without a copy."""
    first = places[0] if places else 0
    block = range(first, first + len(places))
    return slice(block.start, block.stop) if list(places) == list(block) else list(places)


def _batch(prompts: list[int], pos: int, layout: Layout) -> AnswerBatch:
    device = layout.answer_row.device
    number = torch.full((layout.batch,), -1, device=device)
    number[prompts] = torch.arange(len(prompts), device=device)
    answers = (number[layout.answer_row] >= 0).nonzero().flatten()
    row, at = number[layout.answer_row[answers]], layout.answer_pos[answers]
    spans = None if layout.span_index is None else layout.span_index[prompts, :pos]
    return AnswerBatch(prompts, Layout(len(prompts), pos, row, at, spans), answers)
