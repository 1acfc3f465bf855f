"""Contexts of ordinary text: pieces of documents, each after the beginning-of-text token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.engine.forward import context_length
from acdc_pipeline.errors import PromptError
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import encode, unknown_id
from acdc_pipeline.specs.methods.text import FEWEST_TOKENS
from acdc_pipeline.specs.text_files import NamedText

SHORTEST = 8
"""Tokens of the shortest piece: the rest of a document that is shorter is left out."""


@dataclass(frozen=True)
class Contexts:
    """Rows of tokens, padded on the right.

    Args:
        sources: the text of each row, as an index.
        has_bos: whether each row begins with a token that is not of the text.
        unknown: the share of the counted tokens that the tokenizer does not know.
    """

    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]
    sources: tuple[int, ...]
    has_bos: bool
    unknown: float

    @property
    def counted(self) -> Bool[Tensor, "batch pos"]:
        """The queries that count: all tokens but padding and the first, which sees itself alone."""
        at = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return (at >= 1) & (at < self.lengths[:, None])


def draw_contexts(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[NamedText],
    *,
    bos: int | None,
    tokens: int,
    context: int,
    seed: int,
) -> Contexts:
    """Cut all documents into contexts, and draw as many as have `tokens` counted tokens.

    Every document is cut from its beginning into pieces of as many tokens as a context holds; the
    last piece stays if it has `SHORTEST` tokens. Pieces are drawn without replacement, and the
    last one drawn is cut so that exactly `tokens` tokens count. Rows are in the order of the texts.

    Args:
        bos: the first token of every context; None for none, so that a piece's first token is not
            counted.
        context: tokens of a context, `bos` included.

    Raises:
        PromptError: the texts have too few tokens, or no piece that fills a context where
            attention is bidirectional, which would see padding.
    """
    first = [] if bos is None else [bos]
    width = min(context, context_length(weights))
    room = width - len(first)
    pieces: list[tuple[int, list[int]]] = []
    total = 0
    for number, text in enumerate(texts):
        for ids in encode(tokenizer, text.documents):
            total += len(ids)
            cut = (list(ids[start : start + room]) for start in range(0, len(ids), room))
            pieces += [(number, piece) for piece in cut if len(piece) >= min(SHORTEST, room)]
    if weights.bidirectional:
        pieces = [one for one in pieces if len(one[1]) == room]
    not_counted = 1 - len(first)
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed)).tolist()
    kept: dict[int, list[int]] = {}
    left = tokens
    for index in order:
        piece = pieces[index][1]
        if len(piece) - not_counted > left:
            if weights.bidirectional or not left:
                break
            piece = piece[: left + not_counted]
        kept[index] = piece
        left -= len(piece) - not_counted
    if tokens - left < FEWEST_TOKENS:
        pieces_of = f"{room}" if weights.bidirectional else f"{min(SHORTEST, room)} or more"
        used = f", of which {tokens - left} count (in pieces of {pieces_of})"
        raise PromptError(
            "too few tokens to tell what heads do: "
            f"{total}{used if total >= FEWEST_TOKENS else ''}",
            where=", ".join(text.name for text in texts),
            field="text",
            allowed=f"at least {FEWEST_TOKENS}",
            fix="give a longer text",
        )
    rows = [[*first, *kept[index]] for index in sorted(kept)]
    longest = max(map(len, rows))
    unknown = unknown_id(tokenizer)
    strange = sum(token == unknown for piece in kept.values() for token in piece[not_counted:])
    return Contexts(
        torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows]).to(weights.device),
        torch.tensor([len(row) for row in rows], device=weights.device),
        tuple(pieces[index][0] for index in sorted(kept)),
        bos is not None,
        strange / (tokens - left),
    )
