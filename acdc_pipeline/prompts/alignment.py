"""Align prompt pairs: sides that correspond, answers as tokens, one tensor per side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.answers import (
    AnswerIds,
    check_ids,
    encode_answers,
    given_ids,
    require_different,
)
from acdc_pipeline.prompts.counterparts import find_counterparts
from acdc_pipeline.prompts.padding import strip_padding
from acdc_pipeline.prompts.pairs import Answer, BosChoice, Pair, list_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet, WholeAnswers
from acdc_pipeline.prompts.span_tokens import with_spans
from acdc_pipeline.prompts.tokenization import (
    Ids,
    bos_id,
    encode,
    own_prefix,
    pad_id,
    quote_end,
    unknown_id,
    unknown_words,
)
from acdc_pipeline.specs.generators import PairsGenerator
from acdc_pipeline.specs.model_ref import is_in_memory
from acdc_pipeline.specs.names import Positions
from acdc_pipeline.specs.task import TaskSpec


def align(
    pairs: Sequence[Pair],
    tokenizer: PreTrainedTokenizerBase,
    *,
    bos: BosChoice,
    name: str,
    positions: Positions = "none",
) -> PromptSet:
    """Return the pairs as tensors, with every answer read behind the last token of its prompt.

    Args:
        pairs: at least one pair.
        tokenizer: tokenizer of the model.
        bos: whether the beginning-of-text token is prepended to texts of pairs that do not say so
            themselves; `auto`: what the tokenizer prepends by itself. Sides given as token ids get
            none, and lose their padding.
        name: name of the task in error messages, for pairs without file and line.
        positions: the `spans` of the prompt set: those of the task (`spans`), or one for each
            absolute position (`tokens`, for prompts of one length); None with `none`.

    Raises:
        PromptError: two sides differ in length and the pair does not say how they correspond, a
            prompt is empty or holds text the tokenizer does not know, or an answer is not one token
            behind its prompt where the pair does not count whole answers; or there are no spans.
    """
    if not pairs:
        raise PromptError("has no prompts", where=name)
    places = [pair.where or f"{name}, prompt {i}" for i, pair in enumerate(pairs, start=1)]
    choices: list[BosChoice] = [bos if pair.bos is None else pair.bos for pair in pairs]
    clean = _encode_sides("clean", [pair.clean for pair in pairs], tokenizer, choices, places)
    corrupted = _encode_sides(
        "corrupted", [pair.corrupted for pair in pairs], tokenizer, choices, places
    )

    def quote(side: str | Ids) -> str:
        return f" ({quote_end(_text(side, tokenizer))})"

    prompts = _build_prompt_set(
        pairs,
        (clean, corrupted),
        [
            find_counterparts(pair, left, right, where, quote)
            for where, pair, left, right in zip(places, pairs, clean, corrupted, strict=True)
        ],
        encode_answers(places, pairs, tokenizer),
        [(_text(pair.clean, tokenizer), _text(pair.corrupted, tokenizer)) for pair in pairs],
        pad=pad_id(tokenizer),
        name=name,
    )
    return with_spans(prompts, positions, pairs, clean, places, tokenizer)


def align_ids(
    task: TaskSpec,
    *,
    vocab: int,
    vocab_out: int | None = None,
    n: int,
    model: str,
    positions: Positions = "none",
) -> PromptSet:
    """Return the first `n` pairs of token ids of `task`, for a model without a tokenizer.

    Args:
        task: task of pairs that hold token ids and no text.
        vocab: size of the vocabulary that the model reads.
        vocab_out: size of the vocabulary that it writes, of the answers; None for the same.
        n: number of pairs, at least 1; fewer are returned if the task has fewer.
        model: name of the model in error messages.
        positions: see `align`.

    Raises:
        PromptError: the task needs a tokenizer, two sides differ in length, an id is not in the
            vocabulary, or there are no spans.
    """
    if not isinstance(task.generator, PairsGenerator):
        in_memory = is_in_memory(model)
        has_none = "none was given" if in_memory else "the model's directory has none"
        commands = "" if in_memory else ": acdc discover FILE.jsonl, acdc heads --tasks FILE.jsonl"
        raise PromptError(
            f"task '{task.name}' needs a tokenizer, and {has_none}",
            where=model,
            allowed=f"pairs of token ids, such as a .jsonl file of them{commands}",
            fix=add_tokenizer(model),
        )
    pairs = list_pairs(task.generator, name=task.name, n=n, split="all")
    if not pairs:
        raise PromptError("has no prompts", where=f"task '{task.name}'")
    clean = [_require_ids(pair, "clean", pair.clean, vocab, model) for pair in pairs]
    corrupted = [_require_ids(pair, "corrupted", pair.corrupted, vocab, model) for pair in pairs]
    written = vocab if vocab_out is None else vocab_out
    answers = [
        (
            _require_answers(pair, "correct", pair.correct, written, model),
            _require_answers(pair, "incorrect", pair.incorrect, written, model),
        )
        for pair in pairs
    ]
    texts = [
        (" ".join(map(str, left)), " ".join(map(str, right)))
        for left, right in zip(clean, corrupted, strict=True)
    ]
    counterparts = [
        find_counterparts(pair, left, right, pair.where, lambda _: "")
        for pair, left, right in zip(pairs, clean, corrupted, strict=True)
    ]
    # Any id can pad: causal attention hides padding from every answer.
    name = f"task '{task.name}'"
    prompts = _build_prompt_set(
        pairs,
        (clean, corrupted),
        counterparts,
        answers,
        texts,
        pad=0,
        name=name,
    )
    places = [pair.where or name for pair in pairs]
    return with_spans(prompts, positions, pairs, clean, places, None)


def add_tokenizer(model: str) -> str:
    """Return the instruction that gives a tokenizer to the model of this reference."""
    if is_in_memory(model):
        return "pass its tokenizer as tokenizer=..."
    return "save its tokenizer there with tokenizer.save_pretrained(...)"


def _build_prompt_set(
    pairs: Sequence[Pair],
    sides: tuple[Sequence[Ids], Sequence[Ids]],
    counterparts: Sequence[Ids],
    answers: Sequence[AnswerIds],
    texts: Sequence[tuple[str, str]],
    *,
    pad: int,
    name: str,
) -> PromptSet:
    clean, corrupted = sides
    for number, (pair, of_pair) in enumerate(zip(pairs, answers, strict=True), start=1):
        require_different(of_pair, pair.where or f"{name}, prompt {number}")
    whole = [pair.whole for pair in pairs]
    if any(whole):
        if not all(whole):
            raise PromptError(
                "some pairs count whole answers, and others single tokens",
                where=pairs[whole.index(False)].where or name,
                field="answers",
                fix='write "answers": "whole" in every pair, or in none',
            )
        return _continue_prompts(pairs, sides, counterparts, answers, texts, pad=pad)
    lengths = torch.tensor([len(ids) for ids in clean])
    return PromptSet(
        clean=_pad_rows(clean, pad),
        corrupted=_pad_rows(corrupted, pad),
        lengths=lengths,
        answer_row=torch.arange(len(pairs)),
        answer_pos=lengths - 1,
        correct=tuple(tuple(ids[0] for ids in correct) for correct, _ in answers),
        incorrect=tuple(tuple(ids[0] for ids in incorrect) for _, incorrect in answers),
        clean_text=tuple(text for text, _ in texts),
        corrupted_text=tuple(text for _, text in texts),
        template=tuple(pair.template for pair in pairs),
        roles=tuple(pair.roles for pair in pairs),
        counterpart=_counterpart_rows(counterparts, corrupted),
    )


def _continue_prompts(
    pairs: Sequence[Pair],
    sides: tuple[Sequence[Ids], Sequence[Ids]],
    counterparts: Sequence[Ids],
    answers: Sequence[AnswerIds],
    texts: Sequence[tuple[str, str]],
    *,
    pad: int,
) -> PromptSet:
    """Return a row for every answer: both sides, each continued by all its tokens but the last."""
    rows = [
        (number, ids, is_correct)
        for number, of_pair in enumerate(answers)
        for side, is_correct in zip(of_pair, (True, False), strict=True)
        for ids in dict.fromkeys(side)
    ]
    numbers = [number for number, _, _ in rows]
    clean, corrupted = ([side[number] + ids[:-1] for number, ids, _ in rows] for side in sides)
    continued = [
        (*counterparts[n], *range(len(sides[1][n]), len(sides[1][n]) + len(ids) - 1))
        for n, ids, _ in rows
    ]
    read = [
        (row, len(sides[0][number]) - 1 + i, token)
        for row, (number, ids, _) in enumerate(rows)
        for i, token in enumerate(ids)
    ]
    return PromptSet(
        clean=_pad_rows(clean, pad),
        corrupted=_pad_rows(corrupted, pad),
        lengths=torch.tensor([len(ids) for ids in clean]),
        answer_row=torch.tensor([row for row, _, _ in read]),
        answer_pos=torch.tensor([position for _, position, _ in read]),
        correct=tuple((token,) for _, _, token in read),
        incorrect=((),) * len(read),
        clean_text=tuple(texts[number][0] for number in numbers),
        corrupted_text=tuple(texts[number][1] for number in numbers),
        template=tuple(pairs[number].template for number in numbers),
        roles=tuple(pairs[number].roles for number in numbers),
        counterpart=_counterpart_rows(continued, corrupted),
        whole=WholeAnswers(tuple(numbers), tuple(correct for _, _, correct in rows)),
    )


def _counterpart_rows(
    counterparts: Sequence[Ids], corrupted: Sequence[Ids]
) -> Int[Tensor, "batch pos"] | None:
    """Return the counterparts as a tensor; None if every position has its own."""
    if all(
        positions == tuple(range(len(side)))
        for positions, side in zip(counterparts, corrupted, strict=True)
    ):
        return None
    return _pad_rows(counterparts, 0)


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
    check_ids(pair.where, field, ids, vocab, "this model")
    return ids


def _require_answers(
    pair: Pair, field: str, answers: Sequence[Answer], vocab: int, model: str
) -> tuple[Ids, ...]:
    _require_ids(pair, field, [one for one in answers if isinstance(one, str)], vocab, model)
    return tuple(
        given_ids(one, pair.where, field, vocab, "this model", pair.whole)
        for one in answers
        if not isinstance(one, str)
    )


def _prefix(tokenizer: PreTrainedTokenizerBase, bos: BosChoice, encoded: Mapping[str, Ids]) -> Ids:
    """Return the tokens in front of every text."""
    if bos == "auto":
        return own_prefix(tokenizer, encoded)
    return (bos_id(tokenizer),) if bos else ()


def _encode_sides(
    field: str,
    sides: Sequence[str | Ids],
    tokenizer: PreTrainedTokenizerBase,
    choices: Sequence[BosChoice],
    places: Sequence[str],
) -> list[Ids]:
    given = zip(sides, choices, strict=True)
    choice_of: list[tuple[str, BosChoice]] = [
        (side, choice) for side, choice in given if isinstance(side, str)
    ]
    texts = [text for text, _ in choice_of]
    encoded = dict(zip(texts, encode(tokenizer, texts), strict=True))
    prefixes: dict[BosChoice, Ids] = {}
    for _, choice in choice_of:
        if choice not in prefixes:
            prefixes[choice] = _prefix(tokenizer, choice, encoded)
    out = []
    for side, choice, where in zip(sides, choices, places, strict=True):
        if isinstance(side, str):
            first, ids = prefixes[choice], encoded[side]
            if choice != "auto" or ids[: len(first)] != first:
                ids = first + ids
            _check_text(where, field, side, ids, tokenizer)
        else:
            check_ids(where, field, side, len(tokenizer), "this model's tokenizer")
            ids = strip_padding(side, tokenizer, where, field)
        if not ids:
            raise PromptError("is empty", where=where, field=field)
        out.append(ids)
    return out


def _check_text(
    where: str, field: str, side: str, ids: Ids, tokenizer: PreTrainedTokenizerBase
) -> None:
    unknown = unknown_id(tokenizer)
    if unknown is not None and unknown in ids:
        words = ", ".join(f"'{word}'" for word in unknown_words(tokenizer, side)) or "something"
        raise PromptError(
            f"this model's tokenizer does not know {words} in {quote_end(side)}",
            where=where,
            field=field,
            fix="use words of this model's vocabulary, or a model with a larger one",
        )


def _pad_rows(rows: Sequence[Ids], pad: int) -> Int[Tensor, "batch pos"]:
    width = max(len(row) for row in rows)
    return torch.tensor([row + (pad,) * (width - len(row)) for row in rows])


def _text(side: str | Ids, tokenizer: PreTrainedTokenizerBase) -> str:
    return side if isinstance(side, str) else str(tokenizer.decode(list(side)))
