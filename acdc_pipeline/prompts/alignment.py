"""From text pairs to a PromptSet: equal lengths, single-token answers, one tensor a side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import following, last_words
from acdc_pipeline.prompts.pair import Answer, Pair
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.tokenization import (
    Ids,
    bos_id,
    continuations,
    encode,
    pad_id,
    pieces,
    shown,
    unknown_id,
    unknown_words,
)


def align(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, *, bos: bool, name: str
) -> PromptSet:
    """The pairs as tensors, every answer read at the last token of its prompt.

    Args:
        pairs: at least one.
        tokenizer: the model's own.
        bos: whether the beginning-of-text token goes first. Sides given as token ids are
            taken as they are.
        name: what error messages call the whole; pairs know their own file and line.

    Raises:
        PromptError: two sides differ in length, a prompt is empty or holds text the tokenizer
            does not know, or an answer is not exactly one token after its prompt.
    """
    if not pairs:
        raise PromptError("has no prompts", where=name)
    first = (bos_id(tokenizer),) if bos else ()
    clean = _encode_sides([pair.clean for pair in pairs], tokenizer, first)
    corrupted = _encode_sides([pair.corrupted for pair in pairs], tokenizer, first)
    places = [pair.where or f"{name}, prompt {i}" for i, pair in enumerate(pairs, start=1)]
    for where, pair, left, right in zip(places, pairs, clean, corrupted, strict=True):
        _check_side(where, "clean", pair.clean, left, tokenizer)
        _check_side(where, "corrupted", pair.corrupted, right, tokenizer)
        _check_lengths(where, pair, left, right, tokenizer)
    answers = _answer_ids(places, pairs, tokenizer)
    lengths = [len(ids) for ids in clean]
    return PromptSet(
        clean=_padded(clean, pad_id(tokenizer)),
        corrupted=_padded(corrupted, pad_id(tokenizer)),
        lengths=torch.tensor(lengths),
        answer_row=torch.arange(len(pairs)),
        answer_pos=torch.tensor(lengths) - 1,
        correct=tuple(correct for correct, _ in answers),
        incorrect=tuple(incorrect for _, incorrect in answers),
        clean_text=tuple(_text(pair.clean, tokenizer) for pair in pairs),
        corrupted_text=tuple(_text(pair.corrupted, tokenizer) for pair in pairs),
        template=tuple(pair.template for pair in pairs),
        roles=tuple(pair.roles for pair in pairs),
    )


def _encode_sides(
    sides: Sequence[str | Ids], tokenizer: PreTrainedTokenizerBase, first: Ids
) -> list[Ids]:
    texts = [side for side in sides if isinstance(side, str)]
    encoded = dict(zip(texts, encode(tokenizer, texts), strict=True))
    return [first + encoded[side] if isinstance(side, str) else side for side in sides]


def _check_side(
    where: str, field: str, side: str | Ids, ids: Ids, tokenizer: PreTrainedTokenizerBase
) -> None:
    if not ids:
        raise PromptError("is empty", where=where, field=field)
    if not isinstance(side, str):
        _check_ids(where, field, side, tokenizer)
        return
    unknown = unknown_id(tokenizer)
    if unknown is not None and unknown in ids:
        words = ", ".join(f"'{word}'" for word in unknown_words(tokenizer, side)) or "something"
        raise PromptError(
            f"this model's tokenizer does not know {words} in {shown(side)}",
            where=where,
            field=field,
            fix="use words of this model's vocabulary, or a model with a larger one",
        )


def _check_ids(
    where: str, field: str, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> None:
    size = len(tokenizer) if ids else 0
    for token in ids:
        if not 0 <= token < size:
            raise PromptError(
                f"{token} is not a token id",
                where=where,
                field=field,
                allowed=f"0 to {size - 1} for this model's tokenizer",
            )


def _check_lengths(
    where: str, pair: Pair, clean: Ids, corrupted: Ids, tokenizer: PreTrainedTokenizerBase
) -> None:
    if len(clean) != len(corrupted):
        raise PromptError(
            f"the sides differ in length: clean {len(clean)} tokens"
            f" ({shown(_text(pair.clean, tokenizer))}), corrupted {len(corrupted)}"
            f" ({shown(_text(pair.corrupted, tokenizer))})",
            where=where,
            allowed="two sides of as many tokens under this model's tokenizer",
            fix="exchange words of one side for shorter or longer ones",
        )


def _answer_ids(
    places: Sequence[str], pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[Ids, Ids]]:
    """The token ids of the correct and of the incorrect answers of each pair."""
    ends = [last_words(pair.clean) if isinstance(pair.clean, str) else "" for pair in pairs]
    sides = [
        [[_placed(end, answer) for answer in side] for side in (pair.correct, pair.incorrect)]
        for pair, end in zip(pairs, ends, strict=True)
    ]
    needed: dict[tuple[str, str], tuple[str, str]] = {}  # (end of prompt, answer) -> its place
    for where, end, (correct, incorrect) in zip(places, ends, sides, strict=True):
        for field, answers in (("correct", correct), ("incorrect", incorrect)):
            _check_ids(where, field, [a for a in answers if isinstance(a, int)], tokenizer)
            for answer in answers:
                if isinstance(answer, str):
                    needed.setdefault((end, answer), (where, field))
        if not correct:
            raise PromptError("has no answer", where=where, field="correct")
    found: dict[tuple[str, str], int] = {}
    unknown = unknown_id(tokenizer)
    for key, ids in zip(needed, continuations(tokenizer, list(needed)), strict=True):
        if ids is None or len(ids) != 1 or ids[0] == unknown:
            raise _bad_answer(*needed[key], *key, ids, tokenizer)
        found[key] = ids[0]
    return [
        (
            tuple(a if isinstance(a, int) else found[end, a] for a in correct),
            tuple(a if isinstance(a, int) else found[end, a] for a in incorrect),
        )
        for end, (correct, incorrect) in zip(ends, sides, strict=True)
    ]


def _placed(end: str, answer: Answer) -> Answer:
    return following(end, answer) if isinstance(answer, str) else answer


def _bad_answer(
    where: str,
    field: str,
    end: str,
    answer: str,
    ids: Ids | None,
    tokenizer: PreTrainedTokenizerBase,
) -> PromptError:
    fix = "use answers that this tokenizer keeps whole"
    if ids is None:
        whole = pieces(tokenizer, encode(tokenizer, [end + answer])[0])
        problem = f"'{answer}' merges with the end of the prompt: {whole}"
        fix = "begin the answer with the space in front of it, and end no prompt with a space"
    elif len(ids) == 1:
        problem = f"'{answer}' is not in the vocabulary of this model's tokenizer"
    else:
        cut = pieces(tokenizer, ids)
        problem = f"'{answer}' is {len(ids)} tokens under this model's tokenizer: {cut}"
    allowed = f"one token that follows '{end}'"
    return PromptError(problem, where=where, field=field, allowed=allowed, fix=fix)


def _padded(rows: Sequence[Ids], pad: int) -> Int[Tensor, "batch pos"]:
    width = max(len(row) for row in rows)
    return torch.tensor([row + (pad,) * (width - len(row)) for row in rows])


def _text(side: str | Ids, tokenizer: PreTrainedTokenizerBase) -> str:
    return side if isinstance(side, str) else str(tokenizer.decode(list(side)))
