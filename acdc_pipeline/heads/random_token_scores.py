"""The family of scores on random tokens: attention, and direct effects on the repeated token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.heads.answer_logit import MeanLogit, frozen_scale, token_logit, unscaled_gradient
from acdc_pipeline.heads.attention_scores import attention_scores
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.layer_run import LayerRun, Places, run_tokens
from acdc_pipeline.models.weights import Norm, TransformerWeights

Samples = Mapping[str, Float64[np.ndarray, "sample layer head"]]


@dataclass(frozen=True)
class RandomTokenScores:
    """What heads do on random tokens said twice.

    Args:
        samples: for each score, a value for each row and head.
        answer: the whole model's logit of the right next token in the second copy, less the
            mean over the vocabulary; mean over rows and positions.
    """

    samples: Samples
    answer: MeanLogit


def random_token_scores(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    period: int,
    *,
    memory: int,
) -> RandomTokenScores:
    """Every score of the family, row by row, from one pass.

    Args:
        weights: the model.
        tokens: rows of `1 + 2 * period` tokens. On shuffled ones the same places are looked at.
        period: n of the rows.
        memory: bytes for activations.

    Raises:
        OutOfMemoryBudget: `memory` does not hold a single row.
    """
    size = rows_at_once(weights, tokens.shape[1], memory)
    parts: list[dict[str, Tensor]] = []
    logits = []
    with torch.no_grad():
        for rows in chunks(len(tokens), size):
            reading = _Reading(NextToken.of(weights, tokens[rows], period))
            final = run_tokens(weights, tokens[rows], visit=reading)
            parts.append(reading.scores(final, weights.norm_final))
            logits.append(reading.next_token.answer_logit(final, weights.norm_final))
    samples = {
        name: torch.cat([part[name] for part in parts], dim=1).permute(1, 2, 0) for name in parts[0]
    }
    return RandomTokenScores(
        {name: values.cpu().to(torch.float64).numpy() for name, values in samples.items()},
        MeanLogit.of(torch.cat(logits)),
    )


@dataclass(frozen=True)
class NextToken:
    """Where the next token is known in the second copy, and what raises its logit.

    Args:
        rows, queries: the places, `batch` x `query` of them. The last position has no next token.
        sources: where the next token stands in the first copy: `period - 1` back.
        direction: the next token's unembedding, less the mean over the vocabulary.
        gradient: the same as it acts on the residual stream, but for the final norm's scale.
    """

    rows: Int[Tensor, "batch 1"]
    queries: Int[Tensor, "1 query"]
    sources: Int[Tensor, "1 query"]
    direction: Float[Tensor, "batch query d_model"]
    gradient: Float[Tensor, "batch query d_model"]

    @classmethod
    def of(
        cls, weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], period: int
    ) -> NextToken:
        """The places of rows of `1 + 2 * period` tokens."""
        queries = torch.arange(period + 1, 2 * period, device=tokens.device)[None]
        sources = queries - (period - 1)
        direction = token_logit(weights, tokens[:, sources[0]])
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        gradient = unscaled_gradient(weights.norm_final, direction)
        return cls(rows, queries, sources, direction, gradient)

    @property
    def places(self) -> Places:
        """Rows and positions at which the next token is known."""
        return self.rows, self.queries

    def scale(
        self, final: Float[Tensor, "batch pos d_model"], norm: Norm
    ) -> Float[Tensor, "batch query"]:
        """The final norm's scale at the places."""
        return frozen_scale(final[self.places], norm)

    def answer_logit(
        self, final: Float[Tensor, "batch pos d_model"], norm: Norm
    ) -> Float[Tensor, " batch"]:
        """The next token's logit less the mean over the vocabulary, mean over the places."""
        return (normalise(final[self.places], norm) * self.direction).sum(-1).mean(-1)


class _Reading:
    """Reads the scores of each layer as it is visited; `found` holds one entry a layer.

    Direct effects lack the final norm's scale until the final stream is known.
    """

    def __init__(self, next_token: NextToken) -> None:
        self.next_token = next_token
        self.period = int(next_token.queries[0, 0]) - 1
        self.found: dict[str, list[Float[Tensor, "head batch"]]] = {}
        self.unscaled: dict[str, list[Float[Tensor, "head batch query"]]] = {}

    def __call__(self, run: LayerRun) -> None:
        for name, values in attention_scores(run, self.period).items():
            self.found.setdefault(name, []).append(values)
        at = self.next_token
        reading = run.reading(at.gradient, at.places)
        carried = run.carried[:, at.rows, at.queries]
        looked = run.pattern[:, at.rows, at.queries, at.sources]
        source = (run.values[:, at.rows, at.sources] * reading).sum(-1)
        for name, values in (
            ("copy_attribution", (carried * reading).sum(-1)),
            ("anti_induction", -looked * source),
        ):
            self.unscaled.setdefault(name, []).append(values)

    def scores(
        self, final: Float[Tensor, "batch pos d_model"], norm: Norm
    ) -> dict[str, Float[Tensor, "head batch layer"]]:
        """Every score, once the final stream is known."""
        scale = self.next_token.scale(final, norm)
        direct = {
            name: [(each * scale).mean(-1) for each in layers]
            for name, layers in self.unscaled.items()
        }
        return {name: torch.stack(each, -1) for name, each in {**self.found, **direct}.items()}
