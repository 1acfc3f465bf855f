"""How the objective changes with gates, prompts in groups that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.objective import LogprobObjective
from acdc_pipeline.engine.receiver_gradients import final_gradient
from acdc_pipeline.engine.setup import Bench
from acdc_pipeline.models.weights import TransformerWeights

GatedForward: TypeAlias = Callable[
    [
        TransformerWeights,
        Int[Tensor, "batch pos"],
        Float[Tensor, "src batch pos d_model"],
        Float[Tensor, " gate"],
    ],
    Float[Tensor, "batch pos d_model"],
]


def gate_gradient(
    bench: Bench,
    objective: LogprobObjective,
    forward: GatedForward,
    gates: Float[Tensor, " gate"],
    prompts_at_once: int,
) -> Float[Tensor, " gate"]:
    """The gradient of the objective by each gate.

    Where not all prompts fit at once, a forward without gradients finds what each group's final
    stream is worth, and a second one carries that back group by group.

    Args:
        bench: the model and its prompts.
        objective: mean over all answers; higher is worse.
        forward: `run_edge_gates` or `run_node_gates`.
        gates: between 0 and 1.
        prompts_at_once: of which activations are held.
    """

    def final(values: Float[Tensor, " gate"], chosen: slice) -> Float[Tensor, "some pos d_model"]:
        tokens = bench.prompts.clean[chosen]
        return forward(bench.weights, tokens, bench.ablated[:, chosen], values)

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
