"""Tokens as texts that people read, leading spaces included."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

LONGEST = 32
"""Characters of a token that are kept; longer ones lose their end."""

_SENTENCEPIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def token_texts(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> list[str]:
    """The text of each token; its number where there is no tokenizer."""
    if tokenizer is None:
        return [str(token) for token in ids]
    return [_text(tokenizer, token)[:LONGEST] for token in ids]


def _text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.startswith(_SENTENCEPIECE_SPACE):
        # decoding a lone token drops the space in front of it
        return piece.replace(_SENTENCEPIECE_SPACE, " ")
    return str(tokenizer.decode([token]))
