"""What the experts of a mixture write, each for an input of its own.

Expert e writes `weight_e * expert_e(x_e)` for a token: the weights follow from what the router
reads, `x_e` is what the expert reads, and the weight of an expert that the router does not choose
is 0. Both are the model's own modules. Only pairs of a token and an expert chosen for it are
computed, so that the experts of a state cost no more than the mixture as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.models.own_modules import Mixture
from acdc_pipeline.models.weights import Block

Rows = Float[Tensor, "*rows d_model"]


def run_experts(
    block: Block,
    inputs: Float[Tensor, "n_read *rows d_model"],
    some: Sequence[int],
) -> Float[Tensor, "n *rows d_model"]:
    """The outputs of nodes of a mixture, the norm before it included.

    Args:
        inputs: what is read: by the router, if an expert is among the nodes, then by each of them;
            or one input for all.
        some: the nodes, as their places among those of the mixture: its experts, then the rest.
    """
    mixture, norm = mixture_of(block), block.norm_mlp
    assert norm is not None
    shape = inputs.shape[1:]
    x = inputs.reshape(len(inputs), -1, shape[-1])
    experts = [place for place in some if place < mixture.n_experts]
    read = x if len(x) == 1 else x[1:] if experts else x
    out = x.new_zeros(len(some), *x.shape[1:])
    if experts:
        first = normalise(x[:1], norm)
        index, chosen = mixture.router(first)
        position = index.new_full((mixture.n_experts,), -1)
        position[experts] = torch.arange(len(experts), device=index.device)
        place = position[index]  # of each choice among the nodes, -1 for others
        row, choice = (place >= 0).nonzero(as_tuple=True)
        node = place[row, choice]
        if len(row):
            # Of inputs that differ, only the rows that an expert is chosen for are normalised.
            rows = first[0, row] if len(x) == 1 else normalise(read[node, row], norm)
            written = mixture.experts(
                rows, index[row, choice][:, None], chosen[row, choice][:, None]
            )
            out[node, row] = written.to(out.dtype)
    if len(experts) < len(some):
        out[-1] = _written(mixture.rest(normalise(read[-1:], norm))).reshape(x.shape[1:])
    if mixture.scale != 1.0:
        out = mixture.scale * out
    return out.unflatten(1, shape[:-1])


def run_routed(block: Block, routed: Rows, x: Rows) -> Rows:
    """The sum of what all experts write for `x`, with the routing that `routed` gives."""
    mixture = mixture_of(block)
    assert block.norm_mlp is not None
    rows = normalise(x, block.norm_mlp).reshape(-1, x.shape[-1])
    index, chosen = mixture.router(normalise(routed, block.norm_mlp).reshape(1, *rows.shape))
    written = mixture.experts(rows, index, chosen).to(x.dtype)
    return (written if mixture.scale == 1.0 else mixture.scale * written).view(x.shape)


def mixture_of(block: Block) -> Mixture:
    """The mixture of a block whose experts are nodes."""
    assert isinstance(block.mlp, Mixture)
    return block.mlp


def _written(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    return result[0] if isinstance(result, tuple) else result
