"""Where heads look: scores of attention patterns on random tokens said twice."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import visible_keys
from acdc_pipeline.heads.layer_run import LayerRun

PerRow = dict[str, Float[Tensor, "head batch"]]

ATTENTION_SCORES = (
    "induction",
    "duplicate_token",
    "previous_token",
    "current_token",
    "sink",
    "entropy",
    "normalised_entropy",
    "mean_distance",
)

ONE_KEY = ("induction", "duplicate_token", "previous_token", "current_token")
"""Scores that look at one key of each query."""


def attention_scores(run: LayerRun, period: int) -> PerRow:
    """Every score of `ATTENTION_SCORES` for each head and row; formulas in `specs.head_scores`.

    Args:
        run: a layer on rows of `1 + 2 * period` tokens, as `RepeatedSequences` has them.
        period: n. The key that followed the current token's first occurrence is n - 1 back: its
            first occurrence is n back, and what followed it one nearer.
    """
    pattern = run.pattern
    pos = pattern.shape[-1]
    at = torch.arange(pos, device=pattern.device)
    later = pattern[:, :, 1:]
    entropy = -torch.special.xlogy(later, later).sum(-1)
    visible = visible_keys(run.block.attn, pos, pattern.device).sum(-1)[1:]
    uniform = visible.to(pattern.dtype).log()
    away = (at[1:, None] - at[None]).abs().to(pattern.dtype)
    return {
        **{name: one_attention_score(run, name, period) for name in ONE_KEY},
        "sink": later[..., 0].mean(-1),
        "entropy": entropy.mean(-1),
        # a window of one key leaves no choice, and no share of it
        "normalised_entropy": (entropy / uniform)[..., visible > 1].mean(-1),
        "mean_distance": (later * away).sum(-1).mean(-1),
    }


def one_attention_score(run: LayerRun, name: str, period: int) -> Float[Tensor, "head batch"]:
    """Mean attention to the one key that a score of `ONE_KEY` is about; arguments as above."""
    first, back = {
        "induction": (period + 1, period - 1),
        "duplicate_token": (period + 1, period),
        "previous_token": (1, 1),
        "current_token": (1, 0),
    }[name]
    queries = torch.arange(first, run.pattern.shape[-1], device=run.pattern.device)
    return run.pattern[:, :, queries, queries - back].mean(-1)
