"""How a token or a position is written into a subspace."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def one_hot(n: int) -> Float[Tensor, "_ width"]:
    """One coordinate a symbol. Two symbols have product 1 if equal, else 0. They can be mixed."""
    return torch.eye(n, dtype=torch.float64)


def signs(n: int) -> Float[Tensor, "_ width"]:
    """The binary digits of the symbol's number as +1 and -1: 64 symbols in 6 coordinates.

    Two symbols have product `width` if equal, else at most `width - 2`, least -`width`.
    """
    width = (n - 1).bit_length()
    return torch.tensor(
        [[2.0 * (number >> bit & 1) - 1 for bit in range(width)] for number in range(n)],
        dtype=torch.float64,
    )
