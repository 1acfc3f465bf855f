"""The bootstrap filter: scores whose sign is not certain become 0.

The prompts are drawn again with replacement, as many as there are, N times; the score of an edge on
a resample is its mean there. An edge stays if 0 is outside the 95 % percentile interval of its N
scores (Efron & Tibshirani 1993, section 13.3; for edges Nikankin et al. 2025, arXiv 2510.25786):

    at most ⌊0.025 N⌋ resamples have a score ≤ 0, or at most so many one ≥ 0.

Every prompt is scored once. What is held is the score of every edge on each prompt, or on each
resample if those are fewer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_TAIL = 0.025
# Edges whose resamples are computed together.
_EDGES_AT_ONCE = 4096


class SignFilter:
    """Collects scores prompt by prompt; the signs of their means on resamples decide.

    Args:
        n_resamples: N.
        seed: seeds the resamples.
    """

    def __init__(self, n_prompts: int, n_edges: int, n_resamples: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(n_prompts, (n_resamples, n_prompts), generator=generator)
        self._counts = torch.zeros(n_resamples, n_prompts)
        self._counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float32))
        self._by_prompt = n_prompts <= n_resamples
        self._held = torch.zeros(rows_held(n_prompts, n_resamples), n_edges)
        self._sum = torch.zeros(n_edges, dtype=torch.float64)
        self._weight = 0.0

    def add(self, prompt: int, scores: Float[Tensor, " edge"], weight: float) -> None:
        """Add the scores on one prompt.

        Args:
            weight: of the prompt in means, such as the number of its answers.
        """
        weighted = weight * scores.double()
        self._sum += weighted
        self._weight += weight
        if self._by_prompt:
            self._held[prompt] = weighted.float()
        else:
            self._held.addr_(self._counts[:, prompt], weighted.float())

    def certain(self) -> Float[Tensor, " edge"]:
        """The mean score of every edge on all prompts, and 0 where its sign is not certain."""
        tail = int(_TAIL * len(self._counts))
        signs = []
        for part in self._held.split(_EDGES_AT_ONCE, dim=1):
            sums = self._counts @ part if self._by_prompt else part
            signs.append(((sums <= 0).sum(0) <= tail) | ((sums >= 0).sum(0) <= tail))
        return torch.where(torch.cat(signs), self._sum / self._weight, 0.0)


def rows_held(n_prompts: int, n_resamples: int) -> int:
    """How many float32 numbers a filter holds for each edge."""
    return min(n_prompts, n_resamples)
