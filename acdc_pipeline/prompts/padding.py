"""Padding in prompts that are given as token ids."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.tokenization import Ids

_FIX = "leave the padding out: prompts may differ in length"


def strip_padding(ids: Ids, tokenizer: PreTrainedTokenizerBase, where: str, field: str) -> Ids:
    """Return the token ids of a prompt without the padding at its beginning and end.

    A padding token of its own is removed at both ends; in front only if the tokenizer has a
    beginning-of-text token, for otherwise it may begin texts (Qwen's <|endoftext|>). Where the
    tokenizer pads with a token that also means something else (GPT-2: the end-of-text token, also
    where no padding token is set), a single one at the beginning begins the text and stays; any
    other at an end could be either.

    Raises:
        PromptError: the prompt is nothing but padding, has padding inside, or tokens at an end that
            may be padding or text.
    """
    own = tokenizer.pad_token_id
    pad = own if isinstance(own, int) else tokenizer.eos_token_id
    if not isinstance(pad, int) or pad not in ids:
        return ids
    before = next((i for i, token in enumerate(ids) if token != pad), len(ids))
    behind = next((i for i, token in enumerate(reversed(ids)) if token != pad), 0)
    meaning = _other_meaning(tokenizer, pad)
    if meaning is None:
        kept = ids[before : len(ids) - behind]
        if not kept or pad in kept:
            problem = f"has the padding token {pad} inside" if kept else "is nothing but padding"
            raise PromptError(problem, where=where, field=field, fix=_FIX)
        if before and tokenizer.bos_token_id is None:
            what = "padding, or begins texts: this model's tokenizer has no beginning-of-text token"
            raise _ambiguous("begins", before, pad, what, where, field)
        return kept
    if behind or before > 1 or (before == 1 and meaning == "unknown"):
        end, count = ("ends", behind) if behind else ("begins", before)
        what = f"both padding and the {meaning} token of this model's tokenizer"
        raise _ambiguous(end, count, pad, what, where, field)
    return ids


def _ambiguous(end: str, count: int, pad: int, what: str, where: str, field: str) -> PromptError:
    return PromptError(
        f"{end} with {count} of token {pad}, which is {what}",
        where=where,
        field=field,
        allowed="token ids without padding",
        fix=f"{_FIX}; where the token is meant, give the prompt as a text",
    )


def _other_meaning(tokenizer: PreTrainedTokenizerBase, pad: int) -> str | None:
    """Return what else the padding token means, or None."""
    meanings = {
        "end-of-text": tokenizer.eos_token_id,
        "beginning-of-text": tokenizer.bos_token_id,
        "unknown": tokenizer.unk_token_id,
    }
    return next((name for name, token in meanings.items() if token == pad), None)
