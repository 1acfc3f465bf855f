"""Token ids of answers behind their prompts."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import join_answer, last_words
from acdc_pipeline.prompts.pairs import Answer, Pair
from acdc_pipeline.prompts.tokenization import (
    Ids,
    continuations,
    encode,
    quote_tokens,
    unknown_id,
)

AnswerIds = tuple[tuple[Ids, ...], tuple[Ids, ...]]
"""The token ids of each correct answer, and of each incorrect one."""

WHOLE_FIX = 'count all tokens of an answer with "answers": "whole"'


def encode_answers(
    places: Sequence[str], pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase
) -> list[AnswerIds]:
    """Return the token ids of the answers of each pair.

    Raises:
        PromptError: a pair has no correct answer, or an answer is unknown to the tokenizer, merges
            with the prompt, or has several tokens in a pair that does not count whole answers.
    """
    ends = [last_words(pair.clean) if isinstance(pair.clean, str) else "" for pair in pairs]
    sides = [
        [[_join(end, answer) for answer in side] for side in (pair.correct, pair.incorrect)]
        for pair, end in zip(pairs, ends, strict=True)
    ]
    needed: dict[tuple[str, str, bool], tuple[str, str]] = {}  # (end, answer, whole) -> place
    size = len(tokenizer)
    for where, pair, end, (correct, incorrect) in zip(places, pairs, ends, sides, strict=True):
        for field, answers in (("correct", correct), ("incorrect", incorrect)):
            for answer in answers:
                if isinstance(answer, str):
                    needed.setdefault((end, answer, pair.whole), (where, field))
                else:
                    given_ids(answer, where, field, size, "this model's tokenizer", pair.whole)
        if not correct:
            raise PromptError("has no answer", where=where, field="correct")
    found: dict[tuple[str, str], Ids] = {}
    unknown = unknown_id(tokenizer)
    added = continuations(tokenizer, [(end, answer) for end, answer, _ in needed])
    for (end, answer, whole), ids in zip(needed, added, strict=True):
        if not ids or (len(ids) != 1 and not whole) or unknown in ids:
            place = needed[end, answer, whole]
            raise _answer_error(*place, end, answer, ids, tokenizer, whole=whole)
        found[end, answer] = ids

    def ids_of(end: str, answers: Sequence[Answer]) -> tuple[Ids, ...]:
        every = [found[end, a] if isinstance(a, str) else as_ids(a) for a in answers]
        return tuple(every)

    return [
        (ids_of(end, correct), ids_of(end, incorrect))
        for end, (correct, incorrect) in zip(ends, sides, strict=True)
    ]


def as_ids(answer: int | Ids) -> Ids:
    """Return the token ids of an answer that is given by them."""
    return (answer,) if isinstance(answer, int) else answer


def given_ids(
    answer: int | Ids, where: str | None, field: str, size: int, owner: str, whole: bool
) -> Ids:
    """Return the ids of an answer that is given by them. Raises PromptError if it is not valid."""
    ids = as_ids(answer)
    check_ids(where, field, ids, size, owner)
    if not ids or (len(ids) > 1 and not whole):
        raise PromptError(
            f"{list(ids)} is {len(ids)} tokens",
            where=where,
            field=field,
            allowed="an answer of one token",
            fix=WHOLE_FIX,
        )
    return ids


def check_ids(where: str | None, field: str, ids: Sequence[int], size: int, owner: str) -> None:
    """Raise PromptError unless all `ids` are in a vocabulary of `size` tokens."""
    for token in ids:
        if not 0 <= token < size:
            raise PromptError(
                f"{token} is not a token id",
                where=where,
                field=field,
                allowed=f"0 to {size - 1} for {owner}",
            )


def require_different(answers: AnswerIds, where: str) -> None:
    """Raise PromptError if an answer is both correct and incorrect.

    Texts that differ may be the same tokens, as "Paris" and " Paris" behind a word, and so may a
    token id and a list of it.
    """
    correct, incorrect = answers
    if both := set(correct).intersection(incorrect):
        raise PromptError(
            f"the answer of token ids {list(min(both))} is a correct answer too",
            where=where,
            field="incorrect",
            fix="remove it",
        )


def _join(end: str, answer: Answer) -> Answer:
    return join_answer(end, answer) if isinstance(answer, str) else answer


def _answer_error(
    where: str,
    field: str,
    end: str,
    answer: str,
    ids: Ids | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    whole: bool,
) -> PromptError:
    fix = f"use answers that this tokenizer keeps whole, or {WHOLE_FIX}"
    if ids is None:
        merged = quote_tokens(tokenizer, encode(tokenizer, [end + answer])[0])
        problem = f"'{answer}' merges with the end of the prompt: {merged}"
        fix = "begin the answer with the space in front of it, and end no prompt with a space"
    elif len(ids) == 1 or whole:
        problem = f"'{answer}' is not in the vocabulary of this model's tokenizer"
        fix = "use answers of this model's vocabulary"
    else:
        cut = quote_tokens(tokenizer, ids)
        problem = f"'{answer}' is {len(ids)} tokens under this model's tokenizer: {cut}"
    allowed = f"tokens that follow '{end}'" if whole else f"one token that follows '{end}'"
    return PromptError(problem, where=where, field=field, allowed=allowed, fix=fix)
