"""The family of scores on random tokens: attention, and direct effects on the repeated token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.heads.answer_logit import frozen_gradient, token_logit
from acdc_pipeline.heads.attention_scores import attention_scores
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.edits import NO_EDITS, Edits
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.models.weights import TransformerWeights

Samples = Mapping[str, Float64[np.ndarray, "sample layer head"]]


@dataclass(frozen=True)
class RandomTokenScores:
    """What heads do on random tokens said twice.

    Args:
        samples: for each score, a value for each row and head.
        answer_logit: the whole model's logit of the right next token in the second copy, less the
            mean over the vocabulary; mean over rows and positions.
    """

    samples: Samples
    answer_logit: float


def random_token_scores(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    period: int,
    *,
    memory: int,
    edits: Edits = NO_EDITS,
) -> RandomTokenScores:
    """Every score of the family, row by row.

    Args:
        weights: the model.
        tokens: rows of `1 + 2 * period` tokens. On shuffled ones the same places are looked at.
        period: n of the rows.
        memory: bytes for activations.
        edits: what heads write instead of their own output. Direct effects are measured with the
            norm scales of the unedited model, so that a difference is what a head does itself.

    Raises:
        OutOfMemoryBudget: `memory` does not hold a single row.
    """
    size = rows_at_once(weights, tokens.shape[1], memory)
    parts: list[dict[str, Tensor]] = []
    logits = []
    with torch.no_grad():
        for rows in chunks(len(tokens), size):
            reading = _Reading(weights, tokens[rows], period)
            run_tokens(weights, tokens[rows], edits=edits, visit=reading)
            parts.append({name: torch.stack(each, -1) for name, each in reading.found.items()})
            logits.append(reading.answer_logit)
    samples = {
        name: torch.cat([part[name] for part in parts], dim=1).permute(1, 2, 0) for name in parts[0]
    }
    return RandomTokenScores(
        {name: values.cpu().to(torch.float64).numpy() for name, values in samples.items()},
        float(torch.cat(logits).cpu().to(torch.float64).mean()),
    )


class _Reading:
    """Reads the scores of each layer as it is visited; `found` holds one entry a layer."""

    def __init__(
        self, weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], period: int
    ) -> None:
        self.period = period
        self.found: dict[str, list[Float[Tensor, "head batch"]]] = {}
        # The last position has no next token; from every other of the second copy, the next one
        # stands `period - 1` back.
        self.queries = torch.arange(period + 1, 2 * period, device=tokens.device)
        self.sources = self.queries - (period - 1)
        direction = token_logit(weights, tokens[:, self.sources])
        final = run_tokens(weights, tokens)[:, self.queries]
        self.gradient = frozen_gradient(final, weights.norm_final, direction)
        self.answer_logit = (normalise(final, weights.norm_final) * direction).sum(-1).mean(-1)

    def __call__(self, run: LayerRun) -> None:
        scores = attention_scores(run, self.period)
        gradient = self.gradient[None]
        whole = (run.written[:, :, self.queries] * gradient).sum(-1).mean(-1)
        carried = (
            run.pattern[:, :, self.queries, self.sources, None] * run.values[:, :, self.sources]
        )
        through = (run.into_stream(carried, self.queries) * gradient).sum(-1).mean(-1)
        for name, values in {
            **scores,
            "copy_attribution": whole,
            "anti_induction": -through,
        }.items():
            self.found.setdefault(name, []).append(values)
