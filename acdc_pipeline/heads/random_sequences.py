"""Random tokens said twice, and the same tokens in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.models.weights import TransformerWeights

LEAST_PERIOD = 2


@dataclass(frozen=True)
class RepeatedSequences:
    """Rows `b r1 … rn r1 … rn`, all r of a row different.

    Args:
        tokens: the rows; `b` is the beginning-of-text token, or one more random token where the
            model has none.
        shuffled: each row with everything behind `b` in a random order.
        period: n.
    """

    tokens: Int[Tensor, "batch pos"]
    shuffled: Int[Tensor, "batch pos"]
    period: int

    @property
    def second(self) -> Int[Tensor, " query"]:
        """The positions of the second copy."""
        return torch.arange(self.period + 1, 2 * self.period + 1, device=self.tokens.device)

    def to(self, device: torch.device) -> RepeatedSequences:
        """The same sequences on another device."""
        return RepeatedSequences(self.tokens.to(device), self.shuffled.to(device), self.period)


def longest_period(
    weights: TransformerWeights, vocabulary: Sequence[int], asked: int
) -> int | None:
    """The largest period up to `asked` for which the model has positions and tokens.

    Both copies together take at most half of the context: models are trained less on its far end,
    and small ones fail there. None where not even a period of 2 is left.
    """
    tables = [block.attn.rotary for block in weights.blocks]
    positions = min([weights.n_ctx, *(len(table.cos) for table in tables if table is not None)])
    period = min(asked, positions // 4, len(vocabulary) - 1)
    return period if period >= LEAST_PERIOD else None


def repeated_sequences(
    vocabulary: Sequence[int], *, bos: int | None, period: int, n: int, seed: int
) -> RepeatedSequences:
    """`n` rows, the same for the same seed on every device.

    Args:
        vocabulary: the tokens to draw from, more than `period`.
        bos: what stands first; None draws one more token.
        period: n of the rows.
    """
    generator = torch.Generator().manual_seed(seed)
    pool = torch.tensor(sorted(vocabulary))
    rows, shuffled = [], []
    for _ in range(n):
        drawn = pool[torch.randperm(len(pool), generator=generator)[: period + 1]]
        first = drawn[:1] if bos is None else torch.tensor([bos])
        twice = drawn[1:].repeat(2)
        rows.append(torch.cat([first, twice]))
        order = torch.randperm(2 * period, generator=generator)
        shuffled.append(torch.cat([first, twice[order]]))
    return RepeatedSequences(torch.stack(rows), torch.stack(shuffled), period)
