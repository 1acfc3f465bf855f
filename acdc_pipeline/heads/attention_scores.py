"""Where heads look: scores of attention patterns on random tokens said twice."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import visible_keys
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
    second = at[period + 1 :]
    later = pattern[:, :, 1:]
    entropy = -torch.special.xlogy(later, later).sum(-1)
    visible = visible_keys(run.block.attn, pos, pattern.device).sum(-1)[1:]
    uniform = visible.to(pattern.dtype).log()
    away = (at[1:, None] - at[None]).abs().to(pattern.dtype)
    return {
        "induction": pattern[:, :, second, second - (period - 1)].mean(-1),
        "duplicate_token": pattern[:, :, second, second - period].mean(-1),
        "previous_token": pattern[:, :, at[1:], at[1:] - 1].mean(-1),
        "current_token": pattern[:, :, at[1:], at[1:]].mean(-1),
        "sink": later[..., 0].mean(-1),
        "entropy": entropy.mean(-1),
        # a window of one key leaves no choice, and no share of it
        "normalised_entropy": (entropy / uniform)[..., visible > 1].mean(-1),
        "mean_distance": (later * away).sum(-1).mean(-1),
    }
