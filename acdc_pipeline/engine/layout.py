"""Rows: prompts and positions, flattened, and the rows at which a node is needed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.graph import Receiver


class Needed(Enum):
    """The rows at which a node is read by anything downstream."""

    EVERY = "every position"
    ANSWERS = "the answer positions"


def reads_every_row(receiver: Receiver) -> bool:
    """Whether the node of `receiver` needs its input at every position, wherever it is read.

    Keys, values and mixers carry information from earlier positions.
    """
    return receiver.slot in ("k", "v") or receiver.node.kind == "mixer"


@dataclass(frozen=True)
class Layout:
    """How prompts and positions are flattened into rows.

    Args:
        pos: number of positions, padding included.
        answer_row: prompt of each answer.
        answer_pos: position of each answer.
        span_index: the number of the span of each position, -1 at padding; None without spans.
    """

    batch: int
    pos: int
    answer_row: Int[Tensor, " answer"]
    answer_pos: Int[Tensor, " answer"]
    span_index: Int[Tensor, "batch pos"] | None = None

    @cached_property
    def answer_index(self) -> Int[Tensor, " answer"]:
        """Row of each answer among all `batch * pos` rows."""
        return self.answer_row * self.pos + self.answer_pos

    @cached_property
    def one_answer_per_prompt(self) -> bool:
        """Whether answer i belongs to prompt i."""
        rows = torch.arange(self.batch, device=self.answer_row.device)
        return torch.equal(self.answer_row, rows)

    def n_rows(self, needed: Needed) -> int:
        """The number of rows."""
        return self.batch * self.pos if needed is Needed.EVERY else len(self.answer_row)

    def at_answers(
        self, rows: Float[Tensor, "*lead rows width"]
    ) -> Float[Tensor, "*lead answer width"]:
        """The rows of the answers, out of all rows."""
        return rows.index_select(-2, self.answer_index)

    def at_each_answer(
        self, stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "answer 1 d_model"]:
        """The stream at the answers, each as a prompt of one position."""
        return stream[self.answer_row, self.answer_pos][:, None]

    def keys_of_answers(
        self, keys: Float[Tensor, "*lead batch pos width"]
    ) -> Float[Tensor, "*lead answer pos width"]:
        """The keys or values of each answer's prompt."""
        return keys if self.one_answer_per_prompt else keys.index_select(-3, self.answer_row)

    def select(
        self, rows: Float[Tensor, "*lead rows width"], needed: Needed
    ) -> Float[Tensor, "*lead needed width"]:
        """The rows at which a node is needed, out of all rows."""
        return self.at_answers(rows) if needed is Needed.ANSWERS else rows
