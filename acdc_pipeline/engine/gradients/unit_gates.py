"""Gates on nodes and on the hidden units of MLPs together: forward passes, and gradients.

A hidden unit with a gate of 0 has the value that it has where its MLP reads what all nodes before
it write when they are ablated; under corrupted ablation, that on the corrupted prompt. In between
it has a mixture. What the MLP then writes is gated as a whole, as the output of any node.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.engine.components import Stream, hidden_units, normalise, output_of_units
from acdc_pipeline.engine.forward import SourceOutputs, run_mlp_nodes, streams_from_outputs
from acdc_pipeline.engine.gradients.gates import Backward, gradient_by_gates, run_node_gates
from acdc_pipeline.engine.objectives import LogprobObjective
from acdc_pipeline.engine.receiver_forward import Outputs
from acdc_pipeline.models.weights import Block, Mlp, TransformerWeights


def unit_counts(weights: TransformerWeights) -> list[int]:
    """The number of hidden units that can be gated in each layer.

    It is 0 in layers without an MLP, with experts, or whose MLP is a module of the model itself.
    """
    return [block.mlp.width if isinstance(block.mlp, Mlp) else 0 for block in weights.shapes]


def run_unit_gates(
    bench: Bench,
    chosen: slice,
    nodes: Float[Tensor, " src"],
    units: Float[Tensor, " unit"],
) -> Stream:
    """Run the model on the `chosen` prompts with gates. Returns the final stream.

    Args:
        nodes: the gate of each source.
        units: the gates of all hidden units, in the order of the layers.
    """
    weights, ablated = bench.weights, bench.ablated[:, chosen]
    by_layer = units.split(unit_counts(weights))
    reads = streams_from_outputs(weights, SourceOutputs(ablated, ablated[0])).mlps

    def write_mlp(layer: int, read: Stream) -> Outputs:
        block, gates = weights.blocks[layer], by_layer[layer]
        if not len(gates):
            of_mlp = weights.topology.mlp_sources(layer)
            return run_mlp_nodes(block, read[None], range(len(of_mlp)))
        return _mlp_of_units(block, read, reads[layer], gates)[None]

    tokens = bench.prompts.clean[chosen]
    return run_node_gates(weights, tokens, ablated, nodes, write_mlp)


def _mlp_of_units(
    block: Block, read: Stream, ablated: Stream, gates: Float[Tensor, " d_mlp"]
) -> Stream:
    """What an MLP writes whose hidden units mix their values for two inputs."""
    assert isinstance(block.mlp, Mlp)
    assert block.norm_mlp is not None, "a block with an MLP has a norm before it"
    mlp, norm = block.mlp, block.norm_mlp
    current, removed = (
        hidden_units(normalise(x, norm).flatten(0, -2), mlp) for x in (read, ablated)
    )
    hidden = removed + gates * (current - removed)
    written = output_of_units(hidden, mlp).view(read.shape)
    return written if block.post_mlp is None else normalise(written, block.post_mlp)


def unit_gate_gradient(
    bench: Bench,
    objective: LogprobObjective,
    nodes: Float[Tensor, " src"],
    units: Float[Tensor, " unit"],
    prompts_at_once: int,
) -> Float[Tensor, " gate"]:
    """The gradient of the objective by the gate of each source, then by that of each unit."""
    leaf = torch.cat([nodes, units]).detach().requires_grad_()

    def forward(chosen: slice) -> tuple[Stream, Backward]:
        with torch.enable_grad():
            final = run_unit_gates(bench, chosen, leaf[: len(nodes)], leaf[len(nodes) :])
        return final.detach(), lambda gradient: torch.autograd.grad(final, leaf, gradient)[0]

    return gradient_by_gates(bench, objective, forward, prompts_at_once)
