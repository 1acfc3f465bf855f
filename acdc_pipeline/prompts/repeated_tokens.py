"""Prompts of random tokens that repeat: only the repetition predicts the next token."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.pairs import NamedTokens, Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import bos_id, regular_ids
from acdc_pipeline.specs.generators import RepeatedTokensGenerator

Allowed = Callable[[int, int], bool]
"""Test of whether two tokens may be adjacent."""

_DRAWS_PER_TOKEN = 500
_DRAWS_PER_PROMPT = 100


def repeated_tokens_pairs(
    spec: RepeatedTokensGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """Return `n` pairs `x1 … xm r1 … rp r1 … rk` -> `r(k+1)`; nothing else in a prompt repeats.

    The length, the period p and the end k of the second copy are random, so neither the position
    of the answer nor its distance to the first copy is fixed. The counterfactual replaces the first
    copy by fresh tokens f1 … fp and keeps the rest, so nothing repeats. The correct answer is
    r(k+1), the incorrect one f(k+1), from the same position of the counterfactual.

    `split` applies to pairs of adjacent tokens, which a model could memorise. "train" prompts with
    their answers contain no held-out pair, "held_out" ones contain no other.

    Raises:
        PromptError: the tokenizer has too few regular tokens.
    """
    tokens = regular_ids(tokenizer)
    needed = spec.length[1] + spec.period[1]
    if len(tokens) < needed:
        raise PromptError(
            f"this model's tokenizer has {len(tokens)} regular tokens, and a prompt with its"
            f" counterfactual needs {needed} different ones",
            field="generator.length",
            fix="make generator.length and generator.period shorter",
        )
    allowed = _make_pair_test(tokenizer, tokens, split)
    first = (bos_id(tokenizer),) if spec.bos else ()
    out = []
    for _ in range(n):
        length = rng.randint(*spec.length)
        period = rng.randint(*spec.period)
        stop = rng.randint(1, min(period - 1, length - period))
        noise, copy, fresh = _draw_sequences(rng, tokens, length - period - stop, period, allowed)
        out.append(
            Pair(
                clean=(*first, *noise, *copy, *copy[:stop]),
                corrupted=(*first, *noise, *fresh, *copy[:stop]),
                correct=(copy[stop],),
                incorrect=(fresh[stop],),
                named=_name_tokens(len(first), len(noise), period, stop),
            )
        )
    return out


def _name_tokens(first: int, noise: int, period: int, stop: int) -> tuple[NamedTokens, ...]:
    """Return the spans of a prompt; its last token A stood before the answer B in the first copy.

    `A1` and `B1` are these two in the first copy. The other tokens of the copies are `first` and
    `second`, those in front are `noise`.
    """
    copy = first + noise
    a, b, second = copy + stop - 1, copy + stop, copy + period
    spans = {
        "noise": range(first, copy),
        "first": (*range(copy, a), *range(b + 1, second)),
        "A1": (a,),
        "B1": (b,),
        "second": range(second, second + stop - 1),
    }
    return tuple((name, tuple(tokens)) for name, tokens in spans.items() if tokens)


def _make_pair_test(tokenizer: PreTrainedTokenizerBase, tokens: list[int], split: Split) -> Allowed:
    """Return the test for `split`. It uses the texts of tokens, as ids differ between models."""
    if split == "all":
        return lambda left, right: True
    names = dict(zip(tokens, tokenizer.convert_ids_to_tokens(tokens), strict=True))
    return lambda left, right: in_split(f"{names[left]} {names[right]}", split)


def _draw_sequences(
    rng: random.Random, tokens: list[int], n_noise: int, period: int, allowed: Allowed
) -> tuple[list[int], list[int], list[int]]:
    """Draw noise, a sequence that may be repeated, and a fresh one that may precede it."""
    for _ in range(_DRAWS_PER_PROMPT):
        used: set[int] = set()
        noise: list[int] = []
        copy: list[int] = []
        fresh: list[int] = []
        try:
            for _ in range(n_noise):
                _append_token(noise, rng, tokens, used, allowed, left=noise[-1:])
            for row in (copy, fresh):
                for remaining in reversed(range(period)):
                    left, right = row[-1:] or noise[-1:], [] if remaining else copy[:1]
                    _append_token(row, rng, tokens, used, allowed, left=left, right=right)
        except _DeadEnd:
            continue
        return noise, copy, fresh
    raise PromptError(
        f"no sequence of {period} tokens was found in this split of {len(tokens)} regular tokens",
        field="generator.period",
        fix="make generator.period shorter, or use a model with a larger vocabulary",
    )


class _DeadEnd(Exception):
    """No token was found that is allowed at this position."""


def _append_token(
    row: list[int],
    rng: random.Random,
    tokens: list[int],
    used: set[int],
    allowed: Allowed,
    *,
    left: Sequence[int],
    right: Sequence[int] = (),
) -> None:
    """Append to `row` an unused token that is allowed beside its neighbours.

    Args:
        left: the token before it, if any.
        right: the token after it, if it is known already.
    """
    for _ in range(_DRAWS_PER_TOKEN):
        token = rng.choice(tokens)
        if token in used or not all(allowed(before, token) for before in left):
            continue
        if all(allowed(token, after) for after in right):
            row.append(token)
            used.add(token)
            return
    raise _DeadEnd
