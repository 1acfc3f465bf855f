"""Parts that the model's own modules compute: mixtures, odd MLPs, mixers of positions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class TokenModule:
    """The model's own module in place of an MLP, such as a mixture of experts with its router.

    Args:
        module: maps `[1, token, d_model]` to the same shape, or to a tuple that starts with it;
            each token alone. Its parameters need no gradient.
        n_weights: number of entries in the matrices that one token uses.
        width: number of hidden units that one token uses.
        feature: what it is, in a phrase.
        scale: factor on the output.
    """

    module: nn.Module
    n_weights: int
    width: int
    feature: str
    scale: float = 1.0


@dataclass(frozen=True)
class Mixer:
    """The model's own module that mixes positions without attention heads, as one node.

    A state space model, a recurrence or a convolution over the positions.

    Args:
        module: maps normalised input `[batch pos d_model]` to the same shape, or to a tuple that
            starts with it; no output depends on a later position or on another row. Its parameters
            need no gradient.
        n_weights: number of entries in its matrices.
        width: numbers that it holds for each token while it runs.
        feature: what it is, in a phrase.
        scale: factor on the output.
    """

    module: nn.Module
    n_weights: int
    width: int
    feature: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Mixture(TokenModule):
    """A mixture of experts whose experts are nodes; `module` is the whole of it.

    What it writes for a token x is the sum over the experts e that the router chooses of
    `weight_e(x) expert_e(x)`, plus `rest(x)`.

    Args:
        router: maps `[1, token, d_model]` to the chosen experts and their weights, both
            `[token, choice]`; a token chooses an expert at most once.
        experts: called with rows `[row, d_model]` and the experts and weights of each row
            `[row, choice]`; returns their weighted sum `[row, d_model]`.
        rest: what the module writes without its experts, likewise `[1, token, d_model]`.
        n_experts: the number of experts.
        shared: whether `rest` writes anything.
    """

    router: nn.Module
    experts: nn.Module
    rest: nn.Module
    n_experts: int
    shared: bool
