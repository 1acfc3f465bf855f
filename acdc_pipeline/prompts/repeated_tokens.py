"""Random tokens that repeat: only the repetition says which token comes next."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.prompts.tokenization import bos_id, regular_ids
from acdc_pipeline.specs.generators import RepeatedTokensGenerator

Allowed = Callable[[int, int], bool]
"""Whether two tokens may stand next to each other."""

_DRAWS_A_TOKEN = 500
_DRAWS_A_PROMPT = 100


def repeated_tokens_pairs(
    spec: RepeatedTokensGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """`n` pairs `x1 … xm r1 … rp r1 … rk` -> `r(k+1)`; nothing else in a prompt repeats.

    The length, the period p and the point k at which the second copy stops are drawn for each
    prompt, so that neither the answer's position nor its distance to the first copy is fixed.
    The counterfactual has fresh tokens f1 … fp in place of the first copy and keeps the rest,
    so that nothing repeats. Correct is r(k+1); incorrect is f(k+1), which stands in the same
    place of the counterfactual.

    The unit of `split` is a pair of adjacent tokens, which is what a model could memorise.
    "train" prompts with their answers hold no held-out pair, "held_out" ones hold no other.

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
    allowed = _pair_test(tokenizer, tokens, split)
    first = (bos_id(tokenizer),) if spec.bos else ()
    out = []
    for _ in range(n):
        length = rng.randint(*spec.length)
        period = rng.randint(*spec.period)
        stop = rng.randint(1, min(period - 1, length - period))
        noise, copy, fresh = _draw(rng, tokens, length - period - stop, period, allowed)
        out.append(
            Pair(
                clean=(*first, *noise, *copy, *copy[:stop]),
                corrupted=(*first, *noise, *fresh, *copy[:stop]),
                correct=(copy[stop],),
                incorrect=(fresh[stop],),
            )
        )
    return out


def _pair_test(tokenizer: PreTrainedTokenizerBase, tokens: list[int], split: Split) -> Allowed:
    """Which pairs `split` allows. Decided by the tokens' names: ids differ between models."""
    if split == "all":
        return lambda left, right: True
    names = dict(zip(tokens, tokenizer.convert_ids_to_tokens(tokens), strict=True))
    return lambda left, right: in_split(f"{names[left]} {names[right]}", split)


def _draw(
    rng: random.Random, tokens: list[int], before: int, period: int, allowed: Allowed
) -> tuple[list[int], list[int], list[int]]:
    """Noise, a copy that can stand twice in a row, and a fresh one that can stand first."""
    for _ in range(_DRAWS_A_PROMPT):
        used: set[int] = set()
        noise: list[int] = []
        copy: list[int] = []
        fresh: list[int] = []
        try:
            for _ in range(before):
                _extend(noise, rng, tokens, used, allowed, behind=noise[-1:])
            for left in reversed(range(period)):
                behind, then = copy[-1:] or noise[-1:], [] if left else copy[:1]
                _extend(copy, rng, tokens, used, allowed, behind=behind, then=then)
            for left in reversed(range(period)):
                behind, then = fresh[-1:] or noise[-1:], [] if left else copy[:1]
                _extend(fresh, rng, tokens, used, allowed, behind=behind, then=then)
        except _DeadEnd:
            continue
        return noise, copy, fresh
    raise PromptError(
        f"no sequence of {period} tokens was found in this split of {len(tokens)} regular tokens",
        field="generator.period",
        fix="make generator.period shorter, or use a model with a larger vocabulary",
    )


class _DeadEnd(Exception):
    """No token was found that may stand here."""


def _extend(
    row: list[int],
    rng: random.Random,
    tokens: list[int],
    used: set[int],
    allowed: Allowed,
    *,
    behind: Sequence[int],
    then: Sequence[int] = (),
) -> None:
    """Appends to `row` an unused token that is allowed behind `behind` and in front of `then`."""
    for _ in range(_DRAWS_A_TOKEN):
        token = rng.choice(tokens)
        if token in used or not all(allowed(left, token) for left in behind):
            continue
        if all(allowed(token, right) for right in then):
            row.append(token)
            used.add(token)
            return
    raise _DeadEnd
