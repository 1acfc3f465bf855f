"""Hard concrete gates: random numbers from 0 to 1 that are often exactly 0 or 1, and learnable.

Louizos et al. 2018 (arXiv 1712.01312, section 2.2), with the constants of that paper. A gate has
one parameter, log α: at 0 it is as often open as closed, higher means more open.
"""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

BETA = 2 / 3
"""Temperature: lower makes gates more often exactly 0 or 1."""
STRETCH = (-0.1, 1.1)
"""What the sigmoid's range is stretched to before it is clipped to [0, 1]."""

# Uniform numbers keep this far from 0 and 1, whose logits are infinite.
_MARGIN = 1e-6


def sample_gates(
    log_alpha: Float[Tensor, " gate"], generator: torch.Generator
) -> Float[Tensor, " gate"]:
    """One draw of every gate, with gradients by `log_alpha`."""
    drawn = torch.rand(log_alpha.shape, generator=generator, dtype=log_alpha.dtype)
    noise = drawn.clamp(_MARGIN, 1 - _MARGIN).logit().to(log_alpha.device)
    low, high = STRETCH
    soft = torch.sigmoid((noise + log_alpha) / BETA)
    return (low + (high - low) * soft).clamp(0, 1)


def chance_open(log_alpha: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
    """The probability that each gate is not exactly 0, with gradients by `log_alpha`."""
    low, high = STRETCH
    return torch.sigmoid(log_alpha - BETA * log(-low / high))
