"""The profile of a model's heads on random tokens and from the weights, with its nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Node
from acdc_pipeline.heads.answers import MeanLogit
from acdc_pipeline.heads.backup import (
    TOKEN_ROLES,
    MeasureWithout,
    find_backups,
    random_token_measures,
)
from acdc_pipeline.heads.composition import Composition, composition, composition_values
from acdc_pipeline.heads.copying import copying_values
from acdc_pipeline.heads.criteria import Null, nulls_of
from acdc_pipeline.heads.random_tokens import (
    RepeatedSequences,
    draw_sequences,
    longest_period,
    random_token_scores,
)
from acdc_pipeline.heads.random_weights import random_model_count, random_models
from acdc_pipeline.heads.relations import successor_values, token_lists
from acdc_pipeline.heads.roles import TOKENS, Measurements, heads_with_role
from acdc_pipeline.heads.singular_tokens import HeadTokens, top_tokens
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import regular_ids
from acdc_pipeline.specs.head_scores import SCORES, NullKind

Report = Callable[[str, float], None]
"""A listener to progress: gets the current step, and the completed fraction of the whole."""

BackupsElsewhere = Callable[[str, Mapping[str, Sequence[Node]]], MeasureWithout]

# The completed fraction at the end of each step, roughly, in a model of 270 heads; the rest is the
# search for backups.
_WEIGHTS, _TOKENS, _RANDOM_MODELS = 0.1, 0.18, 0.28

NULL_TOKENS = 128
"""The number of tokens whose copying is scored in random models."""


@dataclass(frozen=True)
class Amounts:
    """The amounts of data that a profile is based on.

    Args:
        period: the period of repeated random tokens, if the model's context holds them.
        sequences: rows of random tokens.
        tokens: tokens of the vocabulary whose copying is ranked.
    """

    period: int
    sequences: int
    tokens: int


@dataclass(frozen=True)
class ModelProfile:
    """The scores of a model's heads that do not depend on a task.

    Args:
        answer: the model's logit of the next token in the second copy of random tokens; None if its
            context or vocabulary holds no repeated sequence, and there are no such scores.
        period: the period of the sequences, or None.
        tokens: the tokens at the ends of each head's strongest directions.
    """

    values: tuple[HeadValues, ...]
    nulls: tuple[Null, ...]
    answer: MeanLogit | None
    period: int | None
    composition: Composition
    tokens: Mapping[Node, HeadTokens]

    @property
    def answer_logits(self) -> dict[str, float]:
        """The answer logit, as in `Measurements`."""
        return {} if self.answer is None else {TOKENS: self.answer.significant}


def profile_model(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    bos: int | None,
    amounts: Amounts,
    seed: int,
    memory: int,
    report: Report = lambda what, share: None,
    backups_elsewhere: BackupsElsewhere | None = None,
) -> ModelProfile:
    """Compute scores on random tokens and from the weights, their nulls, and search for backups.

    Args:
        tokenizer: None if the model has none; then every token counts as ordinary text.
        bos: the token before random tokens; None for another random one.
        backups_elsewhere: returns what measures the score of a role, given the main heads of all
            roles, where others do.
    """
    drawn = draw_tokens(weights, tokenizer, bos=bos, amounts=amounts, seed=seed)
    sequences, sample, lists = drawn.sequences, drawn.sample, drawn.lists

    report("weights", 0.0)
    composed = composition(weights, memory)
    values = _weight_values(weights, sample, lists, composed, memory)
    named = top_tokens(weights, memory)
    report("random tokens", _WEIGHTS)
    tokens, nulls = None, []
    if sequences is not None:
        tokens = random_token_scores(weights, sequences.tokens, sequences.period, memory=memory)
        values += [HeadValues.of_samples(name, each) for name, each in tokens.samples.items()]
        shuffled = random_token_scores(weights, sequences.shuffled, sequences.period, memory=memory)
        nulls += _nulls("shuffled tokens", {n: [s.mean(0)] for n, s in shuffled.samples.items()})
    nulls += _random_weights_null(weights, sequences, sample, lists, seed, memory, report)
    if sequences is not None and tokens is not None:
        report("backup heads", _RANDOM_MODELS)
        measured = Measurements.of(values, nulls, {TOKENS: tokens.answer.significant})
        for value, null in _backups(
            weights, sequences, measured, seed, memory, report, backups_elsewhere
        ):
            values.append(value)
            nulls += null
    report("backup heads", 1.0)
    return ModelProfile(
        values=tuple(sorted(values, key=lambda value: list(SCORES).index(value.score))),
        nulls=tuple(nulls),
        answer=None if tokens is None else tokens.answer,
        period=None if sequences is None else sequences.period,
        composition=composed,
        tokens=named,
    )


@dataclass(frozen=True)
class DrawnTokens:
    """The tokens that a profile of a model is based on.

    Args:
        sequences: repeated random tokens; None if the context or the vocabulary holds none.
        sample: tokens whose copying is ranked.
        lists: ordinal words, as `relations.token_lists` returns them.
    """

    sequences: RepeatedSequences | None
    sample: torch.Tensor
    lists: Sequence[Sequence[int]]


def draw_tokens(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    bos: int | None,
    amounts: Amounts,
    seed: int,
) -> DrawnTokens:
    """Draw the tokens of a profile; arguments as in `profile_model`."""
    vocab = min(weights.w_e.shape[0], weights.w_u.shape[1])
    every = range(vocab) if tokenizer is None else regular_ids(tokenizer)
    regular = [token for token in every if token < vocab]
    period = longest_period(weights, regular, amounts.period)
    sequences = None
    if period is not None:
        drawn = draw_sequences(regular, bos=bos, period=period, n=amounts.sequences, seed=seed)
        sequences = drawn.to(weights.device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(regular), generator=generator)
    sample = torch.tensor(regular)[order][: amounts.tokens].to(weights.device)
    lists = [] if tokenizer is None else token_lists(tokenizer, weights.w_u.shape[1])
    return DrawnTokens(sequences, sample, lists)


def _weight_values(
    weights: TransformerWeights,
    sample: torch.Tensor,
    lists: Sequence[Sequence[int]],
    composed: Composition,
    memory: int,
) -> list[HeadValues]:
    """The scores of all families that follow from the weights."""
    return [
        *copying_values(weights, sample, memory),
        *composition_values(composed),
        *successor_values(weights, lists),
    ]


def _random_weights_null(
    weights: TransformerWeights,
    sequences: RepeatedSequences | None,
    sample: torch.Tensor,
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
        for value in _weight_values(model, sample[:NULL_TOKENS], lists, composed, memory):
            found.setdefault(value.score, []).append(value.mean)
        if sequences is not None:
            tokens, period = sequences.tokens, sequences.period
            scores = random_token_scores(model, tokens, period, memory=memory)
            for name, samples in scores.samples.items():
                found.setdefault(name, []).append(samples.mean(0))
    return _nulls("random weights", found)


def _nulls(kind: NullKind, found: Mapping[str, Sequence[np.ndarray]]) -> list[Null]:
    """A null for each score that has this kind."""
    out: list[Null] = []
    for name, values in found.items():
        if kind in SCORES[name].nulls:
            every = np.concatenate([one.ravel() for one in values])
            out += nulls_of(SCORES[name].key, kind, every)
    return out


def _backups(
    weights: TransformerWeights,
    sequences: RepeatedSequences,
    measured: Measurements,
    seed: int,
    memory: int,
    report: Report,
    elsewhere: BackupsElsewhere | None,
) -> Iterator[tuple[HeadValues, list[Null]]]:
    """Search for backups of every role that has main heads."""
    mains = {role: heads_with_role(measured, role) for role in TOKEN_ROLES}
    mains = {role: nodes for role, nodes in mains.items() if nodes}
    measures = random_token_measures(weights, sequences.tokens, sequences.period, mains, memory)
    for number, (role, measure) in enumerate(measures.items()):

        def progress(done: int, total: int, number: int = number) -> None:
            share = (number + done / total) / len(measures)
            report("backup heads", _RANDOM_MODELS + (1 - _RANDOM_MODELS) * share)

        others = None if elsewhere is None else elsewhere(role, mains)
        found = find_backups(
            measure, mains[role], weights, seed=seed, progress=progress, elsewhere=others
        )
        yield found.values(role)
