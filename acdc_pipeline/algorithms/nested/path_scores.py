"""Several scores of edges from the same gradients along the path of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from acdc_pipeline.algorithms.edge_attribution import max_prompts_at_once
from acdc_pipeline.algorithms.nested.forwards import Values
from acdc_pipeline.algorithms.nodes import edge_scores_of_nodes, scored_outputs
from acdc_pipeline.algorithms.scoring import ScoringProblem
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import run_sources_from, run_streams
from acdc_pipeline.engine.gradients.receiver_gradients import (
    GRADIENTS,
    final_gradient,
    receiver_gradients,
)
from acdc_pipeline.engine.span_rows import masks_by_span
from acdc_pipeline.graph.cut import score_array

_OUTPUTS_HELD = 4
"""Outputs of every source, or differences of them, that are held at once."""


@dataclass(frozen=True)
class PathScores:
    """Scores of all edges, in the order of the graph and in units of the metric.

    Higher `inputs` and `flows` mean more needed.

    Args:
        inputs: those of `eap_ig_inputs`, at other points.
        flows: those of `conductance`, by the midpoint rule in place of the trapezoidal one.
        magnitudes: the sums over prompts of the magnitudes of what each adds to `inputs`.
        nodes: of the weaker end of an edge, see `edge_scores_of_nodes`, the magnitudes of the sums
            of `inputs` over all readers of an output, summed over prompts.
    """

    inputs: Values
    flows: Values
    magnitudes: Values
    nodes: Values


def path_scores(problem: ScoringProblem, points: int) -> PathScores:
    """Scores from gradients at `points` on the line from the ablated to the clean embedding.

    The line is divided into as many equal pieces, and the gradient is taken in the middle of each
    (the midpoint rule). For `inputs` it is multiplied by 1 / `points` of the difference between the
    ablated and the clean output of a source; for `flows` by what the source writes at the ablated
    end of the piece less what it writes at the clean end.
    """
    bench, topology = problem.bench, problem.topology
    clean, ablated = bench.clean.outputs[0], bench.ablated[0]

    def embedded(share: float, chosen: slice = slice(None)) -> Stream:
        return ablated[chosen] + share * (clean[chosen] - ablated[chosen])

    middles = [run_streams(bench.weights, embedded((k + 0.5) / points)) for k in range(points)]
    at_final = [final_gradient(problem.differentiable, bench.layout, s.final) for s in middles]
    totals = torch.zeros(3, topology.n_edges, dtype=torch.float64)
    outputs = {output: row for row, output in enumerate(scored_outputs(topology))}
    read = torch.tensor([outputs.get((e.src, e.span), len(outputs)) for e in topology.edges])
    of_outputs = torch.zeros(len(outputs) + 1, dtype=torch.float64)
    at_once = max_prompts_at_once(bench, problem.memory, _OUTPUTS_HELD)
    for start in range(0, bench.layout.batch, at_once):
        chosen = slice(start, start + at_once)
        whole = bench.ablated[:, chosen] - bench.clean.outputs[:, chosen]
        sums = whole.new_zeros(2, whole.shape[1], topology.n_edges)
        end = run_sources_from(bench.weights, embedded(0.0, chosen)).outputs
        for k in range(points):
            begin, last = end, k + 1 == points
            end = (
                bench.clean.outputs[:, chosen]
                if last
                else run_sources_from(bench.weights, embedded((k + 1) / points, chosen)).outputs
            )
            streams, gradient = middles[k].of_prompts(chosen), at_final[k][chosen]
            for group in receiver_gradients(bench.weights, streams, gradient, GRADIENTS):
                for row, step in enumerate((whole / points, begin - end)):
                    seen = step[: topology.n_sources_of(group.receivers[0])]
                    for span, mask in masks_by_span(bench.layout, topology.spans, chosen):
                        at_step = seen if mask is None else seen * mask
                        by_prompt = torch.einsum("sbpd,nbpd->nbs", at_step, group.gradient)
                        for receiver, values in zip(group.receivers, by_prompt, strict=True):
                            at = topology.first_edge.get(replace(receiver, span=span))
                            if at is not None:  # `logits` is read in the spans of answers alone
                                sums[row, :, at : at + len(seen)] += values
        totals[:2] += sums.sum(1).cpu().double()
        totals[2:] += sums[:1].abs().sum(1).cpu().double()
        by_output = of_outputs.new_zeros(sums.shape[1], len(of_outputs))
        of_outputs += by_output.index_add_(1, read, sums[0].cpu().double()).abs().sum(0)
        problem.advance(min(1.0, (start + at_once) / bench.layout.batch))
    nodes = dict(zip(outputs, of_outputs.tolist(), strict=False))
    by_node = edge_scores_of_nodes(topology, nodes, "magnitude")
    inputs, flows, magnitudes = totals.numpy()
    return PathScores(inputs, flows, magnitudes, score_array(topology, by_node))
