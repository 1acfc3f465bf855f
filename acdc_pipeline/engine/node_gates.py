"""A gate between 0 and 1 on every node, with gradients.

A gate of 1 lets a source's current output through to all that read it, 0 its ablated one, and in
between a mixture. All receivers of a layer read one stream.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import embed, mlp_written, visible_keys
from acdc_pipeline.engine.layer_heads import attend, project_slots
from acdc_pipeline.engine.objective import LogprobObjective
from acdc_pipeline.engine.receiver_gradients import final_gradient
from acdc_pipeline.engine.setup import Bench
from acdc_pipeline.models.weights import TransformerWeights

Stream = Float[Tensor, "batch pos d_model"]
Outputs = Float[Tensor, "n batch pos d_model"]


def run_node_gates(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    gates: Float[Tensor, " src"],
) -> Stream:
    """The final residual stream, each source gated for all that read it."""
    heads = range(weights.topology.n_heads)
    allowed = [visible_keys(b.attn, tokens.shape[1], tokens.device) for b in weights.blocks]

    def gated(written: Outputs, first: int) -> Stream:
        rows = slice(first, first + len(written))
        held = gates[rows, None, None, None]
        return (ablated[rows] + held * (written - ablated[rows])).sum(0)

    residual, n = gated(embed(weights, tokens)[None], 0), 1
    for layer, block in enumerate(weights.blocks):
        slots = project_slots(block.attn, normalise(residual, block.norm_attn))
        attended = residual + gated(attend(block, heads, slots, allowed[layer]), n)
        if block.attn.b_o is not None:
            attended = attended + block.attn.b_o
        n += len(heads)
        if block.mlp is not None:
            read = residual if weights.parallel else attended
            attended = attended + gated(mlp_written(block, read)[None], n)
            n += 1
        residual = attended
    return residual


def node_gate_gradient(
    bench: Bench,
    objective: LogprobObjective,
    gates: Float[Tensor, " src"],
    prompts_at_once: int,
) -> Float[Tensor, " src"]:
    """The gradient of the objective by the gate of each source.

    Where not all prompts fit at once, a forward without gradients finds what each group's final
    stream is worth, and a second one carries that back group by group.

    Args:
        bench: the model and its prompts.
        objective: mean over all answers; higher is worse.
        gates: between 0 and 1.
        prompts_at_once: of which activations are held.
    """

    def final(values: Float[Tensor, " src"], chosen: slice) -> Float[Tensor, "some pos d_model"]:
        tokens = bench.prompts.clean[chosen]
        return run_node_gates(bench.weights, tokens, bench.ablated[:, chosen], values)

    batch = bench.layout.batch
    groups = [slice(i, i + prompts_at_once) for i in range(0, batch, prompts_at_once)]
    leaf = gates.detach().requires_grad_()
    if len(groups) == 1:
        with torch.enable_grad():
            out = final(leaf, groups[0])
        out.backward(final_gradient(objective, bench.layout, out))
    else:
        with torch.no_grad():
            whole = torch.cat([final(leaf, group) for group in groups])
        at_final = final_gradient(objective, bench.layout, whole)
        for group in groups:
            with torch.enable_grad():
                out = final(leaf, group)
            out.backward(at_final[group])
    assert leaf.grad is not None
    return leaf.grad
