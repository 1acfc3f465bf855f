"""How a token or a position is written into a subspace."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BASE = 8


def one_hot(n: int) -> Float[Tensor, "_ width"]:
    """One coordinate a symbol. Two symbols have product 1 if equal, else 0."""
    return torch.eye(n, dtype=torch.float64)


def two_digits(n: int) -> Float[Tensor, "_ width"]:
    """The two base-8 digits of the symbol's number, one-hot each: 64 symbols in 16 coordinates.

    Two symbols have product 2 if equal, 1 if they share a digit, else 0.

    Raises:
        ValueError: more symbols than two digits can count.
    """
    if n > BASE * BASE:
        raise ValueError(f"two base-{BASE} digits count {BASE * BASE} symbols, not {n}")
    digits = one_hot(BASE)
    return torch.stack([torch.cat([digits[i // BASE], digits[i % BASE]]) for i in range(n)])
