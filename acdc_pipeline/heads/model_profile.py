"""The profile of a model's heads on random tokens and from the weights, with its nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
    RandomTokenScores,
    RepeatedSequences,
    draw_sequences,
    longest_period,
    random_token_scores,
)
from acdc_pipeline.heads.random_weights import random_model, random_model_count
from acdc_pipeline.heads.relations import successor_values, token_lists
from acdc_pipeline.heads.roles import TOKENS, Measurements, heads_with_role
from acdc_pipeline.heads.singular_tokens import HeadTokens, top_tokens
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import regular_ids
from acdc_pipeline.specs.head_scores import SCORES, NullKind

Report = Callable[[str, float], None]
"""A listener to progress: gets the current step, and the completed fraction of the whole."""

Submit = Callable[..., Callable[[], Any]]
"""Takes a function of a module, whose first argument is the subject of a profile, and its other
arguments; returns what waits for the result. Others may compute it."""


def compute_here(subject: object) -> Submit:
    """Return what computes parts of a profile in this process, when their results are read."""
    return lambda function, *arguments: partial(function, subject, *arguments)


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
        sequences: the repeated random tokens; None like `answer`.
    """

    values: tuple[HeadValues, ...]
    nulls: tuple[Null, ...]
    answer: MeanLogit | None
    period: int | None
    composition: Composition
    tokens: Mapping[Node, HeadTokens]
    sequences: RepeatedSequences | None = None

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
    submit: Submit | None = None,
    backups_elsewhere: BackupsElsewhere | None = None,
) -> ModelProfile:
    """Compute scores on random tokens and from the weights, their nulls, and search for backups.

    Args:
        tokenizer: None if the model has none; then every token counts as ordinary text.
        bos: the token before random tokens; None for another random one.
        submit: lets others compute parts, which are functions of a `ModelSubject`; None computes
            them here.
        backups_elsewhere: returns what measures the score of a role, given the main heads of all
            roles, where others do.
    """
    drawn = draw_tokens(weights, tokenizer, bos=bos, amounts=amounts, seed=seed)
    subject, sequences = ModelSubject(weights, drawn, seed, memory), drawn.sequences
    start = compute_here(subject) if submit is None else submit
    # The longest first, so that no worker waits for one at the end.
    random = [start(score_random_model, number) for number in range(random_model_count(weights))]
    weighed = start(score_weights), start(compose), start(name_tokens)
    scored = [] if sequences is None else [start(score_tokens, kept) for kept in (True, False)]

    report("weights", 0.0)
    values, composed, named = (wait() for wait in weighed)
    values += composition_values(composed)
    report("random tokens", _WEIGHTS)
    tokens, nulls = None, []
    if scored:
        tokens, shuffled = (wait() for wait in scored)
        values += [HeadValues.of_samples(name, each) for name, each in tokens.samples.items()]
        nulls += _nulls("shuffled tokens", {n: [s.mean(0)] for n, s in shuffled.samples.items()})
    found: dict[str, list[np.ndarray]] = {}
    for number, wait in enumerate(random):
        share = _TOKENS + (_RANDOM_MODELS - _TOKENS) * number / len(random)
        report("random models", share)
        for name, mean in wait().items():
            found.setdefault(name, []).append(mean)
    nulls += _nulls("random weights", found)
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
        sequences=sequences,
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


@dataclass(frozen=True)
class ModelSubject:
    """What the parts of a model's profile are computed from."""

    weights: TransformerWeights
    drawn: DrawnTokens
    seed: int
    memory: int


def compose(subject: ModelSubject) -> Composition:
    """The composition of all pairs of heads."""
    return composition(subject.weights, subject.memory)


def name_tokens(subject: ModelSubject) -> dict[Node, HeadTokens]:
    """The tokens at the ends of each head's strongest directions."""
    return top_tokens(subject.weights, subject.memory)


def score_weights(subject: ModelSubject) -> list[HeadValues]:
    """The scores that follow from the weights, but for those of composition."""
    return [
        *copying_values(subject.weights, subject.drawn.sample, subject.memory),
        *successor_values(subject.weights, subject.drawn.lists),
    ]


def score_tokens(subject: ModelSubject, repeated: bool) -> RandomTokenScores:
    """The scores on repeated random tokens, or on the same ones in another order."""
    sequences = subject.drawn.sequences
    assert sequences is not None
    tokens = sequences.tokens if repeated else sequences.shuffled
    return random_token_scores(subject.weights, tokens, sequences.period, memory=subject.memory)


def score_random_model(subject: ModelSubject, number: int) -> dict[str, np.ndarray]:
    """The scores of the heads of one random model, each a mean over samples."""
    model = random_model(subject.weights, subject.seed, number)
    drawn, memory = subject.drawn, subject.memory
    values = [
        *copying_values(model, drawn.sample[:NULL_TOKENS], memory),
        *composition_values(composition(model, memory)),
        *successor_values(model, drawn.lists),
    ]
    found = {value.score: value.mean for value in values}
    if drawn.sequences is not None:
        tokens, period = drawn.sequences.tokens, drawn.sequences.period
        scores = random_token_scores(model, tokens, period, memory=memory)
        found |= {name: samples.mean(0) for name, samples in scores.samples.items()}
    return found


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
