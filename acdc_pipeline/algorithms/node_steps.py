"""What replacing each node's output is worth to first order, prompt by prompt."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.edge_attribution import prompts_that_fit
from acdc_pipeline.algorithms.question import Question
from acdc_pipeline.engine.forward import streams_from_outputs
from acdc_pipeline.engine.gradients.receiver_gradients import final_gradient, receiver_gradients
from acdc_pipeline.graph import INPUT, Node


def node_steps(question: Question) -> dict[Node, Float[Tensor, " batch"]]:
    """For every head and MLP u: (ablated_u - clean_u) · ∂M/∂output_u, by prompt, at the clean run.

    Summed over the positions of a prompt. M is a mean over all answers, so that the sum over
    prompts is what replacing u costs. The gradient by a node's output is the sum of those by all
    that read it.
    """
    bench = question.bench
    topology = bench.weights.topology
    streams = streams_from_outputs(bench.weights, bench.clean)
    at_final = final_gradient(question.differentiable, bench.layout, streams.final)
    steps = {
        node: torch.zeros(bench.layout.batch, dtype=torch.float64)
        for node in topology.sources
        if node != INPUT
    }
    at_once = prompts_that_fit(bench, question.memory)
    for start in range(0, bench.layout.batch, at_once):
        chosen = slice(start, start + at_once)
        part = streams.of_prompts(chosen)
        by_readers = torch.zeros_like(part.final)
        waiting = len(topology.sources)
        for group in receiver_gradients(bench.weights, part, at_final[chosen]):
            seen = topology.n_sources_of(group.receivers[0])
            # Sources that this receiver does not see have no readers left to come.
            for row in range(seen, waiting):
                step = bench.ablated[row, chosen] - bench.clean.outputs[row, chosen]
                products = (step * by_readers).sum((1, 2))
                steps[topology.sources[row]][chosen] = products.cpu().double()
            waiting = seen
            by_readers = by_readers + group.gradient.sum(0)
        question.advance(min(1.0, (start + at_once) / bench.layout.batch))
    return steps
