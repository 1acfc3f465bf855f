"""Sixty words of two letters, for programs that work with any token."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.zoo.compiled.builder import Builder
from acdc_pipeline.models.zoo.compiled.codes import signs
from acdc_pipeline.models.zoo.tokenizer import BOS, SPECIAL

WORDS = tuple(consonant + vowel for consonant in "bdfgjklmnprs" for vowel in "aeiou")

TOKEN_WIDTH = 6
"""Coordinates of a token: 64 have room, the words, the special tokens and one sign."""

LOGIT = 16.0
"""Scale of the logits. A token shares at most 4 - 2 of 6 coordinates with another, so the right
one is 2 * 16 = 32 nats above the next."""


def token_codes(vocab: int) -> Float[Tensor, "vocab width"]:
    """Each token as signs; <bos> as nothing at all, so that looking at it says nothing."""
    codes = signs(vocab)
    codes[SPECIAL.index(BOS)] = 0
    return codes


def embed_tokens(builder: Builder) -> None:
    """Write each token into `token`, and into `is_bos` whether it is <bos>."""
    vocab = builder.shape.vocab
    builder.embed("token", token_codes(vocab))
    is_bos = torch.zeros(vocab, 1, dtype=torch.float64)
    is_bos[SPECIAL.index(BOS)] = 1
    builder.embed("is_bos", is_bos)


def unembed_answer(builder: Builder) -> None:
    """The logits say the token that stands in `answer`, and nothing if none does."""
    builder.unembed("answer", LOGIT * token_codes(builder.shape.vocab).T)
