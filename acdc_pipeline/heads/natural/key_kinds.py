"""What a key is to a query: the token itself, the one before, the target of induction, ….

The definitions are those of the scores on random tokens, for any text.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from acdc_pipeline.specs.methods.text import KEY_KINDS

_NUMBER = {kind: number for number, kind in enumerate(KEY_KINDS)}


def classify_keys(tokens: Int[Tensor, "batch pos"]) -> Int8[Tensor, "batch query key"]:
    """The kind of every key for every query, as an index of `KEY_KINDS`.

    `first` is position 0; `current` the query itself; `previous` the position before it;
    `induction` a position up to the query that follows an occurrence of the query's token;
    `duplicate` an earlier occurrence of it; `other` everything else, keys after the query included.
    A key of several kinds is of the first of them in this order.
    """
    at = torch.arange(tokens.shape[1], device=tokens.device)
    query, key = at[:, None], at[None, :]
    same = tokens[:, :, None] == tokens[:, None, :]
    follows = torch.zeros_like(same)
    follows[:, :, 1:] = same[:, :, :-1]
    kinds = torch.full(same.shape, _NUMBER["other"], dtype=torch.int8, device=tokens.device)
    # The last assignment counts.
    kinds[same & (key < query)] = _NUMBER["duplicate"]
    kinds[follows & (key <= query)] = _NUMBER["induction"]
    kinds[:, (key == query - 1)] = _NUMBER["previous"]
    kinds[:, (key == query)] = _NUMBER["current"]
    kinds[:, :, 0] = _NUMBER["first"]
    return kinds


def one_hot(kinds: Int8[Tensor, "batch query key"], like: Tensor) -> Float[Tensor, "batch _ kind"]:
    """1 at the kind of each pair of query and key, which are one axis; 0 elsewhere."""
    numbers = torch.arange(len(KEY_KINDS), device=kinds.device, dtype=kinds.dtype)
    return (kinds.flatten(1)[..., None] == numbers).to(like.dtype)
