"""Align prompt pairs: equal lengths, single-token answers, one tensor per side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import join_answer, last_words
from acdc_pipeline.prompts.pairs import Answer, Pair, list_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.tokenization import (
    Ids,
    bos_id,
    continuations,
    encode,
    pad_id,
    quote_end,
    quote_tokens,
    unknown_id,
    unknown_words,
)
from acdc_pipeline.specs.generators import PairsGenerator
from acdc_pipeline.specs.model_ref import is_in_memory
from acdc_pipeline.specs.task import TaskSpec


def align(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, *, bos: bool, name: str
) -> PromptSet:
    """Return the pairs as tensors, with every answer read at the last token of its prompt.

    Args:
        pairs: at least one pair.
        tokenizer: tokenizer of the model.
        bos: whether the beginning-of-text token is prepended. Sides given as token ids are used
            unchanged.
        name: name of the task in error messages, for pairs without file and line.

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
    return _build_prompt_set(
        pairs,
        (clean, corrupted),
        _encode_answers(places, pairs, tokenizer),
        [(_text(pair.clean, tokenizer), _text(pair.corrupted, tokenizer)) for pair in pairs],
        pad=pad_id(tokenizer),
    )


def align_ids(task: TaskSpec, *, vocab: int, n: int, model: str) -> PromptSet:
    """Return the first `n` pairs of token ids of `task`, for a model without a tokenizer.

    Args:
        task: task of pairs that hold token ids and no text.
        vocab: size of the model's vocabulary.
        n: number of pairs, at least 1; fewer are returned if the task has fewer.
        model: name of the model in error messages.

    Raises:
        PromptError: the task needs a tokenizer, two sides differ in length, or an id is not in
            the vocabulary.
    """
    if not isinstance(task.generator, PairsGenerator):
        has_none = "none was given" if is_in_memory(model) else "the model's directory has none"
        raise PromptError(
            f"task '{task.name}' needs a tokenizer, and {has_none}",
            where=model,
            allowed="pairs of token ids",
            fix=add_tokenizer(model),
        )
    pairs = list_pairs(task.generator, name=task.name, n=n, split="all")
    clean = [_require_ids(pair, "clean", pair.clean, vocab, model) for pair in pairs]
    corrupted = [_require_ids(pair, "corrupted", pair.corrupted, vocab, model) for pair in pairs]
    for pair, left, right in zip(pairs, clean, corrupted, strict=True):
        if len(left) != len(right):
            raise PromptError(
                f"the sides differ in length: clean {len(left)} tokens, corrupted {len(right)}",
                where=pair.where,
                allowed="two sides of as many tokens",
            )
    answers = [
        (
            _require_ids(pair, "correct", pair.correct, vocab, model),
            _require_ids(pair, "incorrect", pair.incorrect, vocab, model),
        )
        for pair in pairs
    ]
    texts = [
        (" ".join(map(str, left)), " ".join(map(str, right)))
        for left, right in zip(clean, corrupted, strict=True)
    ]
    # Any id can pad: causal attention hides padding from every answer.
    return _build_prompt_set(pairs, (clean, corrupted), answers, texts, pad=0)


def add_tokenizer(model: str) -> str:
    """Return the instruction that gives a tokenizer to the model of this reference."""
    if is_in_memory(model):
        return "pass its tokenizer as tokenizer=..."
    return "save its tokenizer there with tokenizer.save_pretrained(...)"


def _build_prompt_set(
    pairs: Sequence[Pair],
    sides: tuple[Sequence[Ids], Sequence[Ids]],
    answers: Sequence[tuple[Ids, Ids]],
    texts: Sequence[tuple[str, str]],
    *,
    pad: int,
) -> PromptSet:
    clean, corrupted = sides
    lengths = torch.tensor([len(ids) for ids in clean])
    return PromptSet(
        clean=_pad_rows(clean, pad),
        corrupted=_pad_rows(corrupted, pad),
        lengths=lengths,
        answer_row=torch.arange(len(pairs)),
        answer_pos=lengths - 1,
        correct=tuple(correct for correct, _ in answers),
        incorrect=tuple(incorrect for _, incorrect in answers),
        clean_text=tuple(text for text, _ in texts),
        corrupted_text=tuple(text for _, text in texts),
        template=tuple(pair.template for pair in pairs),
        roles=tuple(pair.roles for pair in pairs),
    )


def _require_ids(
    pair: Pair, field: str, value: str | Sequence[str | int], vocab: int, model: str
) -> Ids:
    texts = [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)]
    if texts:
        raise PromptError(
            f"{texts[0]!r} is a text, and {model} has no tokenizer",
            where=pair.where,
            field=field,
            allowed="token ids",
            fix=f"give token ids, or {add_tokenizer(model)}",
        )
    ids = tuple(one for one in value if isinstance(one, int))
    _check_ids(pair.where, field, ids, vocab, "this model")
    return ids


def _check_ids(where: str | None, field: str, ids: Sequence[int], size: int, owner: str) -> None:
    for token in ids:
        if not 0 <= token < size:
            raise PromptError(
                f"{token} is not a token id",
                where=where,
                field=field,
                allowed=f"0 to {size - 1} for {owner}",
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
        _check_ids(where, field, side, len(tokenizer), "this model's tokenizer")
        return
    unknown = unknown_id(tokenizer)
    if unknown is not None and unknown in ids:
        words = ", ".join(f"'{word}'" for word in unknown_words(tokenizer, side)) or "something"
        raise PromptError(
            f"this model's tokenizer does not know {words} in {quote_end(side)}",
            where=where,
            field=field,
            fix="use words of this model's vocabulary, or a model with a larger one",
        )


def _check_lengths(
    where: str, pair: Pair, clean: Ids, corrupted: Ids, tokenizer: PreTrainedTokenizerBase
) -> None:
    if len(clean) != len(corrupted):
        raise PromptError(
            f"the sides differ in length: clean {len(clean)} tokens"
            f" ({quote_end(_text(pair.clean, tokenizer))}), corrupted {len(corrupted)}"
            f" ({quote_end(_text(pair.corrupted, tokenizer))})",
            where=where,
            allowed="two sides of as many tokens under this model's tokenizer",
            fix="exchange words of one side for shorter or longer ones",
        )


def _encode_answers(
    places: Sequence[str], pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[Ids, Ids]]:
    """Return the token ids of the correct and of the incorrect answers of each pair."""
    ends = [last_words(pair.clean) if isinstance(pair.clean, str) else "" for pair in pairs]
    sides = [
        [[_join(end, answer) for answer in side] for side in (pair.correct, pair.incorrect)]
        for pair, end in zip(pairs, ends, strict=True)
    ]
    needed: dict[tuple[str, str], tuple[str, str]] = {}  # (end of prompt, answer) -> place
    for where, end, (correct, incorrect) in zip(places, ends, sides, strict=True):
        for field, answers in (("correct", correct), ("incorrect", incorrect)):
            ids = [answer for answer in answers if isinstance(answer, int)]
            if ids:
                _check_ids(where, field, ids, len(tokenizer), "this model's tokenizer")
            for answer in answers:
                if isinstance(answer, str):
                    needed.setdefault((end, answer), (where, field))
        if not correct:
            raise PromptError("has no answer", where=where, field="correct")
    found: dict[tuple[str, str], int] = {}
    unknown = unknown_id(tokenizer)
    for key, ids in zip(needed, continuations(tokenizer, list(needed)), strict=True):
        if ids is None or len(ids) != 1 or ids[0] == unknown:
            raise _answer_error(*needed[key], *key, ids, tokenizer)
        found[key] = ids[0]
    return [
        (
            tuple(a if isinstance(a, int) else found[end, a] for a in correct),
            tuple(a if isinstance(a, int) else found[end, a] for a in incorrect),
        )
        for end, (correct, incorrect) in zip(ends, sides, strict=True)
    ]


def _join(end: str, answer: Answer) -> Answer:
    return join_answer(end, answer) if isinstance(answer, str) else answer


def _answer_error(
    where: str,
    field: str,
    end: str,
    answer: str,
    ids: Ids | None,
    tokenizer: PreTrainedTokenizerBase,
) -> PromptError:
    fix = "use answers that this tokenizer keeps whole"
    if ids is None:
        whole = quote_tokens(tokenizer, encode(tokenizer, [end + answer])[0])
        problem = f"'{answer}' merges with the end of the prompt: {whole}"
        fix = "begin the answer with the space in front of it, and end no prompt with a space"
    elif len(ids) == 1:
        problem = f"'{answer}' is not in the vocabulary of this model's tokenizer"
    else:
        cut = quote_tokens(tokenizer, ids)
        problem = f"'{answer}' is {len(ids)} tokens under this model's tokenizer: {cut}"
    allowed = f"one token that follows '{end}'"
    return PromptError(problem, where=where, field=field, allowed=allowed, fix=fix)


def _pad_rows(rows: Sequence[Ids], pad: int) -> Int[Tensor, "batch pos"]:
    width = max(len(row) for row in rows)
    return torch.tensor([row + (pad,) * (width - len(row)) for row in rows])


def _text(side: str | Ids, tokenizer: PreTrainedTokenizerBase) -> str:
    return side if isinstance(side, str) else str(tokenizer.decode(list(side)))
