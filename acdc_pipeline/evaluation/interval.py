"""A bootstrap interval of a ratio of means."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95


def ratio_interval(
    above: Float[Tensor, " answer"],
    below: Float[Tensor, " answer"],
    groups: Sequence[int],
    *,
    seed: int,
) -> tuple[float, float, float]:
    """mean(above) / mean(below), and the ends of its percentile interval (Efron 1979).

    Whole groups are resampled, since answers of one group were made from each other's words. Where
    mean(below) is 0 the ratio counts as 1 if mean(above) is 0 too, as nothing was there to lose,
    and else as 0.

    Args:
        above, below: what is divided, for each answer.
        groups: which answers belong together, numbered from 0.
        seed: of the resamples.
    """
    at = torch.tensor(groups)
    n = int(at.max()) + 1
    sums = torch.zeros(2, n, dtype=torch.float64)
    sums.index_add_(1, at, torch.stack([above, below]).double().cpu())
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (RESAMPLES, n), generator=generator)
    ratios = _ratio(sums[0][drawn].sum(1), sums[1][drawn].sum(1))
    tail = (1 - LEVEL) / 2
    low, high = ratios.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return float(_ratio(*sums.sum(1, keepdim=True))), low, high


def _ratio(above: Float[Tensor, " n"], below: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    nothing = below == 0
    plain = above / below.where(~nothing, torch.ones_like(below))
    return plain.where(~nothing, (above == 0).double())
