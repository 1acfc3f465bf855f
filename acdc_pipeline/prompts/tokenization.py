"""What one tokenizer makes of words and texts: ids, beginning of text, single tokens."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Context

Ids = tuple[int, ...]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """The token ids of each text, without anything the tokenizer would add around it.

    Raises:
        PromptError: the tokenizer refuses one of the texts.
    """
    different = list(dict.fromkeys(texts))
    if not different:
        return []
    try:
        rows = tokenizer(
            different,
            add_special_tokens=False,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
    except Exception as error:  # the tokenizers library raises bare Exception
        raise PromptError(
            f"the model's tokenizer refuses a prompt ({error})",
            fix="give the tokenizer an unknown token, or use words of its vocabulary",
        ) from error
    ids = {text: tuple(row) for text, row in zip(different, rows, strict=True)}
    return [ids[text] for text in texts]


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token put in front of every prompt when a task asks for one.

    The tokenizer's beginning-of-text token; where there is none its end-of-text token, which
    separates documents in training and therefore stands at the beginning of each.

    Raises:
        PromptError: the tokenizer has neither.
    """
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token_id, int):
            return token_id
    raise PromptError(
        "the task puts a beginning-of-text token first, but this model's tokenizer has none",
        field="generator.bos",
        fix="set generator.bos: false, or give the tokenizer a bos_token",
    )


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any valid id to pad with: causal attention keeps padding away from every answer."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(token_id, int):
            return token_id
    return 0


def unknown_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id that stands for text outside the vocabulary, if the tokenizer has such an id.

    GPT-2 declares its end-of-text token as unknown too, but spells out everything in bytes.
    """
    unknown = tokenizer.unk_token_id
    if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        return None
    return unknown if isinstance(unknown, int) else None


def regular_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token id that stands for ordinary text, ascending."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return sorted(set(tokenizer.get_vocab().values()) - special)


def shown(text: str) -> str:
    """A prompt as error messages quote it: its last 120 characters, where answers are."""
    return repr(text if len(text) <= 120 else f"…{text[-120:]}")


def unknown_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The words of `text` that the tokenizer only has its unknown token for."""
    unknown = unknown_id(tokenizer)
    words = list(dict.fromkeys(text.split()))
    as_they_stand = [word if text.startswith(word) else f" {word}" for word in words]
    ids = encode(tokenizer, as_they_stand)
    return [word for word, own in zip(words, ids, strict=True) if unknown in own]


def pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The tokens of `ids` as a reader sees them: `' Mar' 'ty'`."""
    return " ".join(repr(tokenizer.decode([token])) for token in ids)


def continuations(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, str]]
) -> list[Ids | None]:
    """The ids that each `(text, following)` adds to `text`; None where the two merge."""
    before = encode(tokenizer, [text for text, _ in texts])
    whole = encode(tokenizer, [text + following for text, following in texts])
    return [
        full[len(start) :] if full[: len(start)] == start else None
        for start, full in zip(before, whole, strict=True)
    ]


def single_token_words(
    tokenizer: PreTrainedTokenizerBase, words: Sequence[str], contexts: Sequence[Context]
) -> list[str]:
    """The words that are one known token of their own in every one of `contexts`.

    What stands before a word and what stands behind it are tried one at a time: a tokenizer
    that lets both matter together would be caught when whole prompts are aligned.
    Of several words with the same token (a tokenizer that lowers case) the first is kept.
    """
    unknown = unknown_id(tokenizer)
    kept: dict[str, Ids] = dict.fromkeys(words, ())
    for before, lead in dict.fromkeys((context.before, context.lead) for context in contexts):
        added = continuations(tokenizer, [(before, lead + word) for word in kept])
        for word, ids in zip(list(kept), added, strict=True):
            if ids is None or len(ids) != 1 or ids[0] == unknown:
                del kept[word]
            else:
                kept[word] += ids
    for lead, after in dict.fromkeys((context.lead, context.after) for context in contexts):
        added = continuations(tokenizer, [(lead + word, after) for word in kept])
        for word, ids in zip(list(kept), added, strict=True):
            if ids is None:
                del kept[word]
    first: dict[Ids, str] = {}
    for word, ids in kept.items():
        first.setdefault(ids, word)
    return list(first.values())
