"""The spans of a task's prompts: which token belongs to which of the names that pairs declare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import NoSpans, PromptError
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import Spans, spans_from_names, token_spans, with_answers
from acdc_pipeline.prompts.tokenization import Ids, encode, quote_end, unknown_id
from acdc_pipeline.specs.names import Positions

BOS, END, ANSWER, REST = "bos", "END", "answer", "rest"
"""Spans that need no declaration: special tokens in front, the position whose logits give the
answer, the tokens of a whole answer that follow it, and all tokens without a name."""

UNDECLARED = frozenset({BOS, END, ANSWER, REST})
"""Spans that a prompt has though nothing in it was named."""


def with_spans(
    prompts: PromptSet,
    positions: Positions,
    pairs: Sequence[Pair],
    clean: Sequence[Ids],
    places: Sequence[str],
    tokenizer: PreTrainedTokenizerBase | None,
) -> PromptSet:
    """Return the prompts with the spans that `positions` selects.

    Args:
        prompts: prompts of `pairs`, with a row for each, or for each whole answer.
        positions: `none`, the `spans` of the pairs, or one for each of the absolute `tokens`.
        pairs: pairs with slots, or named tokens.
        clean: token ids of each clean prompt.
        places: place of each pair in error messages.
        tokenizer: tokenizer of the model, if it has one.

    Raises:
        NoSpans: the pairs declare no spans.
        PromptError: a slot is no token of its own, a named position is
            not in its prompt, or prompts of different length have no absolute positions.
    """
    _check_named(pairs, clean, places)
    width = prompts.clean.shape[1]
    lengths: list[int] = prompts.lengths.tolist()
    if positions == "none":
        return prompts
    named = any(pair.slots or pair.named for pair in pairs)
    if positions == "tokens":
        return _with(prompts, token_spans(lengths, width, places[0], named))
    if not named:
        instead = ", or use positions 'tokens'" if len(set(lengths)) == 1 else ""
        raise NoSpans(
            "the prompts have no spans",
            where=places[0],
            field="spans",
            allowed='token positions by name, as in "spans": {"S1": [3, 4]}',
            fix="let `acdc tasks spans FILE` propose some" + instead,
        )
    names = list(_name_tokens(pairs, clean, places, tokenizer))
    questions = range(len(pairs)) if prompts.whole is None else prompts.whole.question
    rows = [
        [*names[question], *[ANSWER] * (length - len(names[question]))]
        for question, length in zip(questions, lengths, strict=True)
    ]
    return _with(prompts, spans_from_names(rows, width))


def _with(prompts: PromptSet, spans: Spans) -> PromptSet:
    return replace(prompts, spans=with_answers(spans, prompts.answer_row, prompts.answer_pos))


def _check_named(pairs: Sequence[Pair], clean: Sequence[Ids], places: Sequence[str]) -> None:
    """Raise PromptError if a named position is not in its prompt."""
    for pair, ids, where in zip(pairs, clean, places, strict=True):
        for name, tokens in pair.named:
            if max(tokens) >= len(ids):
                raise PromptError(
                    f"{max(tokens)} is not a token of a prompt of {len(ids)}",
                    where=where,
                    field=f"spans.{name}",
                    allowed=f"0 to {len(ids) - 1}",
                )


def _name_tokens(
    pairs: Sequence[Pair],
    clean: Sequence[Ids],
    places: Sequence[str],
    tokenizer: PreTrainedTokenizerBase | None,
) -> Iterator[list[str]]:
    """Yield the span of each token of each clean prompt.

    Positions that a pair names keep their name. Of the others the last one is `END`, special tokens
    in front are `bos`, slots have their own names, and the token behind a slot, if it has none, is
    `S1+1` behind slot `S1`.
    """
    located = _locate_slots(pairs, clean, places, tokenizer)
    special: set[int] = set()
    if tokenizer is not None:
        special = {*tokenizer.all_special_ids} - {unknown_id(tokenizer)}
    for pair, ids, slots in zip(pairs, clean, located, strict=True):
        names: dict[int, str] = {at: name for name, tokens in pair.named for at in tokens}
        names.setdefault(len(ids) - 1, END)
        for name, start, end in slots:
            for position in range(start, end):
                names.setdefault(position, name)
        for name, _, end in slots:
            names.setdefault(end, f"{name}+1")
        for position, token in enumerate(ids):
            if token not in special:
                break
            names.setdefault(position, BOS)
        yield [names.get(position, REST) for position in range(len(ids))]


def _locate_slots(
    pairs: Sequence[Pair],
    clean: Sequence[Ids],
    places: Sequence[str],
    tokenizer: PreTrainedTokenizerBase | None,
) -> list[list[tuple[str, int, int]]]:
    """Return the slots of each pair by token positions, the end excluded.

    The tokens of the text up to a slot are counted. A space in front of a slot belongs to it, as
    most tokenizers make it part of the following token.

    Raises:
        PromptError: a slot begins or ends inside a token.
    """
    if tokenizer is None:
        return [[] for _ in pairs]
    cuts = [
        [
            (pair.clean[: start - pair.clean[:start].endswith(" ")], pair.clean[:end])
            for _, start, end in pair.slots
        ]
        if isinstance(pair.clean, str)
        else []
        for pair in pairs
    ]
    texts = list(dict.fromkeys(text for of_pair in cuts for cut in of_pair for text in cut))
    tokens_of = dict(zip(texts, encode(tokenizer, texts), strict=True))
    whole = encode(tokenizer, [pair.clean for pair in pairs if isinstance(pair.clean, str)])
    own = iter(whole)
    out = []
    for pair, of_pair, ids, where in zip(pairs, cuts, clean, places, strict=True):
        text = next(own) if isinstance(pair.clean, str) else ids
        found = []
        for (name, _, _), cut in zip(pair.slots, of_pair, strict=False):
            for part in cut:
                if text[: len(tokens_of[part])] != tokens_of[part]:
                    raise PromptError(
                        f"this model's tokenizer merges '{name}' with the text beside it, behind "
                        f"{quote_end(part)}",
                        where=where,
                        field="spans",
                        allowed="spans of whole tokens",
                    )
            start, end = (len(ids) - len(text) + len(tokens_of[part]) for part in cut)
            found.append((name, start, end))
        out.append(found)
    return out
