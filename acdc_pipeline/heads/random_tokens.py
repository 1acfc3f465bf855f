"""Scores on repeated random tokens: attention patterns, and direct effects on the next token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.attention import visible_keys
from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import context_length
from acdc_pipeline.heads.answers import MeanLogit, frozen_scale, token_logit
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.folded import fold_norm
from acdc_pipeline.heads.layer_run import LayerRun, Places, run_tokens
from acdc_pipeline.heads.values import on_every_layer
from acdc_pipeline.models.weights import TransformerWeights

LEAST_PERIOD = 2


@dataclass(frozen=True)
class RepeatedSequences:
    """Rows `b r1 … rn r1 … rn`, all r of a row different.

    Args:
        tokens: the rows; `b` is the beginning-of-text token, or another random token if the model
            has none.
        shuffled: each row with everything after `b` in a random order.
        period: n.
    """

    tokens: Int[Tensor, "batch pos"]
    shuffled: Int[Tensor, "batch pos"]
    period: int

    def to(self, device: torch.device) -> RepeatedSequences:
        """The same sequences on another device."""
        return RepeatedSequences(self.tokens.to(device), self.shuffled.to(device), self.period)


def longest_period(
    weights: TransformerWeights, vocabulary: Sequence[int], limit: int
) -> int | None:
    """The largest period, up to `limit`, for which the model has enough positions and tokens.

    Both copies together take at most half of the context, since models are trained less on its far
    end and small ones fail there. None if that leaves a period below `LEAST_PERIOD`.
    """
    period = min(limit, context_length(weights) // 4, len(vocabulary) - 1)
    return period if period >= LEAST_PERIOD else None


def draw_sequences(
    vocabulary: Sequence[int], *, bos: int | None, period: int, n: int, seed: int
) -> RepeatedSequences:
    """Draw `n` rows, the same on every device.

    Args:
        vocabulary: the tokens to draw from, more than `period`.
        bos: the first token; None draws another random one.
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


@dataclass(frozen=True)
class RandomTokenScores:
    """The scores of all heads on repeated random tokens.

    Args:
        samples: for each score, a value per row and head.
        answer: the whole model's logit of the correct next token in the second copy, minus the
            mean over the vocabulary; mean over rows and positions.
    """

    samples: Mapping[str, Float64[np.ndarray, "sample layer head"]]
    answer: MeanLogit


def random_token_scores(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    period: int,
    *,
    memory: int,
) -> RandomTokenScores:
    """Compute every score of the family, row by row, in one pass.

    Args:
        tokens: rows of `1 + 2 * period` tokens; shuffled rows are read at the same positions.
    """
    size = rows_at_once(weights, tokens.shape[1], memory)
    with torch.no_grad():
        parts = [_score_rows(weights, tokens[rows], period) for rows in chunks(len(tokens), size)]
    samples = {
        name: torch.cat([part[name] for part, _ in parts], dim=1).permute(1, 2, 0)
        for name in parts[0][0]
    }
    return RandomTokenScores(
        {
            name: on_every_layer(weights.topology, values.cpu().to(torch.float64).numpy())
            for name, values in samples.items()
        },
        MeanLogit.of(torch.cat([logits for _, logits in parts])),
    )


def _score_rows(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], period: int
) -> tuple[dict[str, Float[Tensor, "head batch layer"]], Float[Tensor, " batch"]]:
    """The scores of some rows, and their answer logits."""
    at, norm = NextToken.of(weights, tokens, period), weights.norm_final
    attention: dict[str, list[Tensor]] = {}
    direct: dict[str, list[Tensor]] = {}

    def visit(run: LayerRun) -> None:
        for name, values in attention_scores(run, period).items():
            attention.setdefault(name, []).append(values)
        for name, values in direct_effects(run, at).items():
            direct.setdefault(name, []).append(values)

    final = run_tokens(weights, tokens, visit=visit)
    read = final[at.places]
    scale = frozen_scale(read, norm)
    scaled = {name: [(each * scale).mean(-1) for each in layers] for name, layers in direct.items()}
    scores = {name: torch.stack(layers, -1) for name, layers in (attention | scaled).items()}
    # The next token's logit minus the mean over the vocabulary, mean over the places.
    return scores, (normalise(read, norm) * at.direction).sum(-1).mean(-1)


@dataclass(frozen=True)
class NextToken:
    """The places of the second copy at which the next token can be predicted.

    Args:
        rows, queries: the places, `batch` x `query` of them. The last position has no next token.
        sources: positions of the next token in the first copy, `period - 1` back.
        direction: the next token's unembedding, minus the mean over the vocabulary.
        gradient: of the next token's logit by the residual stream, without the final norm's scale.
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
        """The places in rows of `1 + 2 * period` tokens."""
        queries = torch.arange(period + 1, 2 * period, device=tokens.device)[None]
        sources = queries - (period - 1)
        direction = token_logit(weights, tokens[:, sources[0]])
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        gradient = fold_norm(direction, weights.norm_final, dim=-1)
        return cls(rows, queries, sources, direction, gradient)

    @property
    def places(self) -> Places:
        """Rows and positions at which the next token is known."""
        return self.rows, self.queries


def direct_effects(run: LayerRun, at: NextToken) -> dict[str, Float[Tensor, "head batch query"]]:
    """Direct effects on the next token's logit, without the final norm's scale.

    Formulas are in `specs.head_scores`.
    """
    reading = run.reading(at.gradient, at.places)
    carried = run.carried[:, at.rows, at.queries]
    attention = run.pattern[:, at.rows, at.queries, at.sources]
    source = run.value_effects(reading, at.places, at.sources)
    return {
        "copy_attribution": (carried * reading).sum(-1),
        "anti_induction": -attention * source,
    }


def attention_scores(run: LayerRun, period: int) -> dict[str, Float[Tensor, "head batch"]]:
    """Scores of the attention pattern, for each head and row; formulas are in `specs.head_scores`.

    The layer has run on rows of `1 + 2 * period` tokens, see `RepeatedSequences`. Entropy and
    distance are those of the attention that keys get: sinks are left out, and the rest sums to 1.
    Of differential attention, whose weights may be negative, they are those of the absolute
    weights, as shares of their sum.
    """
    pattern = run.pattern
    pos = pattern.shape[-1]
    at = torch.arange(pos, device=pattern.device)
    later = among_keys = pattern[:, :, 1:]
    attn = run.block.attention
    if attn.difference is not None:
        among_keys = later.abs()
    if attn.sinks is not None or attn.difference is not None:
        among_keys = among_keys / among_keys.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(among_keys, among_keys).sum(-1)
    visible = visible_keys(attn, pos, pattern.device).sum(-1)[1:]
    uniform = visible.to(pattern.dtype).log()
    distance = (at[1:, None] - at[None]).abs().to(pattern.dtype)
    one_key = ("induction", "duplicate_token", "previous_token", "current_token")
    return {
        **{name: one_key_score(run, name, period) for name in one_key},
        "sink": later[..., 0].mean(-1),
        "entropy": entropy.mean(-1),
        # A query that sees one key has no entropy to be a share of.
        "normalised_entropy": (entropy / uniform)[..., visible > 1].mean(-1),
        "mean_distance": (among_keys * distance).sum(-1).mean(-1),
    }


def one_key_score(run: LayerRun, name: str, period: int) -> Float[Tensor, "head batch"]:
    """The mean attention to the one key that each query is scored by; arguments as above.

    Of the current token, the previous occurrence is n back, and what followed it n - 1 back.
    """
    first, back = {
        "induction": (period + 1, period - 1),
        "duplicate_token": (period + 1, period),
        "previous_token": (1, 1),
        "current_token": (1, 0),
    }[name]
    queries = torch.arange(first, run.pattern.shape[-1], device=run.pattern.device)
    return run.pattern[:, :, queries, queries - back].mean(-1)
