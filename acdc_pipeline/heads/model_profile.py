"""Everything about a model's heads that no task decides: random tokens, nulls, weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Node
from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.heads import backup as backups
from acdc_pipeline.heads.answers import MeanLogit
from acdc_pipeline.heads.composition import Composition, circuit_norms, composition
from acdc_pipeline.heads.copying import ov_copying, token_ranks
from acdc_pipeline.heads.criteria import Null
from acdc_pipeline.heads.random_tokens import (
    RandomTokenScores,
    RepeatedSequences,
    longest_period,
    random_token_scores,
    repeated_sequences,
)
from acdc_pipeline.heads.random_weights import random_model_count, random_models
from acdc_pipeline.heads.relations import successor_scores, token_lists
from acdc_pipeline.heads.roles import TOKENS, Facts, heads_with
from acdc_pipeline.heads.singular_tokens import HeadTokens, top_tokens
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import regular_ids
from acdc_pipeline.specs.head_scores import SCORES, TOP, NullKind

Report = Callable[[str, float], None]
"""Told what is being done, and which share of the whole is done."""

# How far the work is at the end of each part, roughly, in a model of 270 heads; the rest is the
# search for backups.
_WEIGHTS, _TOKENS, _RANDOM_MODELS = 0.1, 0.18, 0.28

NULL_TOKENS = 128
"""Tokens of the vocabulary that copying is asked of in random models."""


@dataclass(frozen=True)
class Amounts:
    """How much is measured.

    Args:
        period: n of the random tokens said twice, if the model's context holds them.
        sequences: rows of random tokens.
        tokens: tokens of the vocabulary whose copying is ranked.
    """

    period: int
    sequences: int
    tokens: int


@dataclass(frozen=True)
class ModelProfile:
    """What is true of a model's heads whatever the task.

    Args:
        values: the scores.
        nulls: what they are compared with.
        answer: the model's logit of the next token in the second copy; None where its
            context or vocabulary holds no sequence said twice, and none of that family's scores.
        period: n of the sequences that were used, or None.
        composition: how heads read earlier ones.
        tokens: the tokens at the ends of each head's strongest directions.
    """

    values: tuple[HeadValues, ...]
    nulls: tuple[Null, ...]
    answer: MeanLogit | None
    period: int | None
    composition: Composition
    tokens: Mapping[Node, HeadTokens]

    def facts(self) -> Facts:
        """The profile as roles read it."""
        return facts_of(self.values, self.nulls, self.answer_logits)

    @property
    def answer_logits(self) -> dict[str, float]:
        """The answer logit as `Facts` has it."""
        return {} if self.answer is None else {TOKENS: self.answer.shared}


def facts_of(
    values: Sequence[HeadValues],
    nulls: Sequence[Null],
    answer_logits: Mapping[str, float],
    ioi_like: Sequence[str] = (),
) -> Facts:
    """Scores and nulls as roles read them."""
    by_metric: dict[str, list[Null]] = {}
    for null in nulls:
        by_metric.setdefault(null.metric, []).append(null)
    return Facts({v.key: v.mean for v in values}, by_metric, answer_logits, tuple(ioi_like))


def regular_tokens(
    weights: TransformerWeights, tokenizer: PreTrainedTokenizerBase | None
) -> list[int]:
    """Tokens of ordinary text that the model has an embedding for."""
    vocab = min(weights.w_e.shape[0], weights.w_u.shape[1])
    if tokenizer is None:
        return list(range(vocab))
    return [token for token in regular_ids(tokenizer) if token < vocab]


def profile_model(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    bos: int | None,
    amounts: Amounts,
    seed: int,
    memory: int,
    report: Report = lambda what, share: None,
) -> ModelProfile:
    """Scores on random tokens and from the weights, with their nulls, and the backup search.

    Args:
        weights: the model.
        tokenizer: None where it has none: then every token counts as ordinary.
        bos: what stands in front of random tokens; None for one more of them.
        amounts: how much is measured.
        seed: of everything that is drawn.
        memory: bytes for activations.
        report: told what is being done.

    Raises:
        OutOfMemoryBudget: `memory` does not hold a single sequence.
    """
    regular = regular_tokens(weights, tokenizer)
    sequences = _sequences(weights, regular, bos, amounts, seed)
    generator = torch.Generator().manual_seed(seed)
    sample = torch.tensor(regular)[torch.randperm(len(regular), generator=generator)]
    asked = sample[: amounts.tokens].to(weights.device)
    lists = [] if tokenizer is None else token_lists(tokenizer, weights.w_u.shape[1])

    report("weights", 0.0)
    composed = composition(weights, memory)
    values = _weight_values(weights, asked, lists, composed, memory)
    named = top_tokens(weights, memory)
    report("random tokens", _WEIGHTS)
    tokens, nulls = None, []
    if sequences is not None:
        tokens = random_token_scores(weights, sequences.tokens, sequences.period, memory=memory)
        values += [HeadValues.of_samples(name, each) for name, each in tokens.samples.items()]
        nulls += _shuffled_null(weights, sequences, memory)
    nulls += _random_weights_null(weights, sequences, asked, lists, seed, memory, report)
    if sequences is not None and tokens is not None:
        report("backup heads", _RANDOM_MODELS)
        found, drawn = _backups(weights, sequences, tokens, values, nulls, seed, memory, report)
        values += found
        nulls += drawn
    report("backup heads", 1.0)
    return ModelProfile(
        values=tuple(sorted(values, key=lambda value: list(SCORES).index(value.score))),
        nulls=tuple(nulls),
        answer=None if tokens is None else tokens.answer,
        period=None if sequences is None else sequences.period,
        composition=composed,
        tokens=named,
    )


def _sequences(
    weights: TransformerWeights,
    regular: Sequence[int],
    bos: int | None,
    amounts: Amounts,
    seed: int,
) -> RepeatedSequences | None:
    period = longest_period(weights, regular, amounts.period)
    if period is None:
        return None
    drawn = repeated_sequences(regular, bos=bos, period=period, n=amounts.sequences, seed=seed)
    return drawn.to(weights.device)


def copy_values(
    weights: TransformerWeights,
    tokens: torch.Tensor,
    names: tuple[str, str],
    memory: int,
    task: str | None = None,
) -> list[HeadValues]:
    """Share of `tokens` that each head puts among its highest, and lowest, logits."""
    ranks = token_ranks(weights, tokens, tokens, memory, most=TOP)
    return [
        HeadValues.of_samples(name, _hits(rank), task)
        for name, rank in zip(names, (ranks.from_top, ranks.from_bottom), strict=True)
    ]


def _hits(ranks: torch.Tensor) -> np.ndarray:
    return (ranks < TOP).permute(2, 0, 1).to(torch.float64).numpy()


def _weight_values(
    weights: TransformerWeights,
    asked: torch.Tensor,
    lists: Sequence[Sequence[int]],
    composed: Composition,
    memory: int,
) -> list[HeadValues]:
    values = [HeadValues("ov_copying", ov_copying(weights, memory))]
    values += copy_values(weights, asked, ("copy_at_5", "suppress_at_5"), memory)
    values += [HeadValues(f"{slot}_composition", composed.strongest[slot]) for slot in SLOTS]
    values += [HeadValues(name, norms) for name, norms in circuit_norms(weights).items()]
    if lists:
        values.append(HeadValues.of_samples("successor", successor_scores(weights, lists)))
    return values


def _shuffled_null(
    weights: TransformerWeights, sequences: RepeatedSequences, memory: int
) -> list[Null]:
    scores = random_token_scores(weights, sequences.shuffled, sequences.period, memory=memory)
    means = {name: samples.mean(0) for name, samples in scores.samples.items()}
    return _nulls("shuffled tokens", {name: [mean] for name, mean in means.items()})


def _random_weights_null(
    weights: TransformerWeights,
    sequences: RepeatedSequences | None,
    asked: torch.Tensor,
    lists: Sequence[Sequence[int]],
    seed: int,
    memory: int,
    report: Report,
) -> list[Null]:
    found: dict[str, list[np.ndarray]] = {}
    total = random_model_count(weights)
    for number, model in enumerate(random_models(weights, seed)):
        share = _TOKENS + (_RANDOM_MODELS - _TOKENS) * number / total
        report("random models", share)
        composed = composition(model, memory)
        for value in _weight_values(model, asked[:NULL_TOKENS], lists, composed, memory):
            found.setdefault(value.score, []).append(value.mean)
        if sequences is not None:
            tokens, period = sequences.tokens, sequences.period
            scores = random_token_scores(model, tokens, period, memory=memory)
            for name, samples in scores.samples.items():
                found.setdefault(name, []).append(samples.mean(0))
    return _nulls("random weights", found)


def _nulls(kind: NullKind, found: Mapping[str, Sequence[np.ndarray]]) -> list[Null]:
    """One null for each score that has this kind."""
    out = [
        Null.of(SCORES[name].key, kind, np.concatenate([one.ravel() for one in values]))
        for name, values in found.items()
        if kind in SCORES[name].nulls
    ]
    return [null for null in out if null is not None]


def _backups(
    weights: TransformerWeights,
    sequences: RepeatedSequences,
    tokens: RandomTokenScores,
    values: Sequence[HeadValues],
    nulls: Sequence[Null],
    seed: int,
    memory: int,
    report: Report,
) -> tuple[list[HeadValues], list[Null]]:
    """The search for backups of every kind that has main heads."""
    facts = facts_of(values, nulls, {TOKENS: tokens.answer.shared})
    mains = {kind: heads_with(facts, kind) for kind in backups.ON_TOKENS}
    mains = {kind: nodes for kind, nodes in mains.items() if nodes}
    measures = backups.on_random_tokens(weights, sequences.tokens, sequences.period, mains, memory)
    found: list[HeadValues] = []
    found_nulls: list[Null] = []
    for number, (kind, measure) in enumerate(measures.items()):

        def measured(done: int, total: int, number: int = number) -> None:
            share = (number + done / total) / len(measures)
            report("backup heads", _RANDOM_MODELS + (1 - _RANDOM_MODELS) * share)

        result = backups.backup(
            measure, mains[kind], weights.topology, weights.w_e, seed=seed, measured=measured
        )
        value = HeadValues.of_samples(f"backup_{kind}", result.gained)
        null = Null.of(value.key, "other heads", result.others)
        found.append(value)
        found_nulls += [] if null is None else [null]
    return found, found_nulls
