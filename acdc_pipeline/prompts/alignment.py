"""From text pairs to a PromptSet: equal lengths, single-token answers, one tensor a side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
    unknown_id,
)


def align(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, *, bos: bool) -> PromptSet:
    """The pairs as tensors, every answer read at the last token of its prompt.

    Args:
        pairs: at least one.
        tokenizer: the model's own.
        bos: whether the beginning-of-text token goes first. Sides given as token ids are
            taken as they are.

    Raises:
        PromptError: two sides differ in length, a prompt is empty or holds text the tokenizer
            does not know, or an answer is not exactly one token after its prompt.
    """
    if not pairs:
        raise PromptError("there are no prompts", fix="ask for at least one")
    first = (bos_id(tokenizer),) if bos else ()
    clean = _encode_sides([pair.clean for pair in pairs], tokenizer, first)
    corrupted = _encode_sides([pair.corrupted for pair in pairs], tokenizer, first)
    for number, pair in enumerate(pairs):
        _check_sides(number, pair, clean[number], corrupted[number], tokenizer)
    answer_ids = _answer_ids(pairs, tokenizer)
    lengths = [len(ids) for ids in clean]
    return PromptSet(
        clean=_padded(clean, pad_id(tokenizer)),
        corrupted=_padded(corrupted, pad_id(tokenizer)),
        lengths=torch.tensor(lengths),
        answer_row=torch.arange(len(pairs)),
        answer_pos=torch.tensor(lengths) - 1,
        correct=tuple(tuple(answer_ids[i, a] for a in p.correct) for i, p in enumerate(pairs)),
        incorrect=tuple(tuple(answer_ids[i, a] for a in p.incorrect) for i, p in enumerate(pairs)),
        clean_text=tuple(_text(pair.clean, tokenizer) for pair in pairs),
        corrupted_text=tuple(_text(pair.corrupted, tokenizer) for pair in pairs),
        template=tuple(pair.template for pair in pairs),
    )


def place(number: int, pair: Pair) -> str:
    """How error messages name a pair: its file and line, or its number from 1."""
    return pair.where or f"prompt {number + 1}"


def _encode_sides(
    sides: Sequence[str | tuple[int, ...]], tokenizer: PreTrainedTokenizerBase, first: Ids
) -> list[Ids]:
    texts = [side for side in sides if isinstance(side, str)]
    encoded = dict(zip(texts, encode(tokenizer, texts), strict=True))
    return [first + encoded[side] if isinstance(side, str) else side for side in sides]


def _check_sides(
    number: int,
    pair: Pair,
    clean: Ids,
    corrupted: Ids,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    if not clean:
        raise PromptError("the clean prompt is empty", where=place(number, pair))
    if len(clean) != len(corrupted):
        raise PromptError(
            f"the clean prompt has {len(clean)} tokens and the corrupted one {len(corrupted)}",
            where=place(number, pair),
            allowed="two sides of equal token length under this model's tokenizer",
            fix="replace words so that both sides take as many tokens:\n"
            f"     clean     {_text(pair.clean, tokenizer)!r}\n"
            f"     corrupted {_text(pair.corrupted, tokenizer)!r}",
        )
    unknown = unknown_id(tokenizer)
    for field, side, ids in (
        ("clean", pair.clean, clean),
        ("corrupted", pair.corrupted, corrupted),
    ):
        if isinstance(side, str) and unknown is not None and unknown in ids:
            raise PromptError(
                f"{ids.count(unknown)} words that this model's tokenizer does not know: {side!r}",
                where=place(number, pair),
                field=field,
                fix="use another model, or words of this model's vocabulary",
            )
        if not isinstance(side, str):
            _check_ids(side, tokenizer, place(number, pair), field)


def _check_ids(
    ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, where: str, field: str
) -> None:
    size = len(tokenizer)
    for token in ids:
        if not 0 <= token < size:
            raise PromptError(
                f"{token} is not a token id",
                where=where,
                field=field,
                allowed=f"0 to {size - 1} for this model's tokenizer",
            )


def _answer_ids(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase
) -> dict[tuple[int, Answer], int]:
    """The token id of every (prompt number, answer)."""
    wanted: dict[tuple[str, str], tuple[int, Pair]] = {}
    keys: dict[tuple[int, Answer], tuple[str, str]] = {}
    out: dict[tuple[int, Answer], int] = {}
    for number, pair in enumerate(pairs):
        tail = last_words(pair.clean) if isinstance(pair.clean, str) else ""
        if not pair.correct:
            raise PromptError("no correct answer", where=place(number, pair), field="correct")
        for answer in (*pair.correct, *pair.incorrect):
            if isinstance(answer, int):
                _check_ids((answer,), tokenizer, place(number, pair), "answer")
                out[number, answer] = answer
            else:
                key = (tail, following(tail, answer))
                keys[number, answer] = key
                wanted.setdefault(key, (number, pair))
    found = dict(zip(wanted, continuations(tokenizer, list(wanted)), strict=True))
    unknown = unknown_id(tokenizer)
    for key, ids in found.items():
        if ids is None or len(ids) != 1 or ids[0] == unknown:
            raise _bad_answer(key, ids, *wanted[key], tokenizer)
    for key_of, key in keys.items():
        ids = found[key]
        assert ids is not None
        out[key_of] = ids[0]
    return out


def _bad_answer(
    key: tuple[str, str],
    ids: Ids | None,
    number: int,
    pair: Pair,
    tokenizer: PreTrainedTokenizerBase,
) -> PromptError:
    tail, answer = key
    if ids is None:
        whole = encode(tokenizer, [tail + answer])[0]
        return PromptError(
            f"the answer {answer!r} merges with the end of the prompt: {pieces(tokenizer, whole)}",
            where=place(number, pair),
            field="answer",
            allowed="one token that follows the prompt",
            fix=f"begin the answer with a space (' {answer}'), and end no prompt with one",
        )
    if len(ids) == 1:
        problem = f"the answer {answer!r} is not in the vocabulary of this model's tokenizer"
    else:
        problem = (
            f"the answer {answer!r} is {len(ids)} tokens under this model's tokenizer:"
            f" {pieces(tokenizer, ids)}"
        )
    return PromptError(
        problem,
        where=place(number, pair),
        field="answer",
        allowed="one token that follows the prompt",
        fix="use answers that this tokenizer keeps whole",
    )


def _padded(rows: Sequence[Ids], pad: int) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + (pad,) * (width - len(row)) for row in rows])


def _text(side: str | tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> str:
    return side if isinstance(side, str) else tokenizer.decode(list(side))
