"""First-order scores of edges: gradients of receivers times differences of sources."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import Streams, expert_receivers, head_width, mlp_width
from acdc_pipeline.engine.gradients.receiver_gradients import (
    GRADIENTS,
    Propagation,
    ReceiverGradients,
    receiver_gradients,
)
from acdc_pipeline.engine.span_rows import rows_by_span
from acdc_pipeline.graph import Node

# Positions of prompts that are processed together: more do not make matrix products faster, and
# cost memory traffic.
_ROWS = 192


class EdgeAttribution:
    """Accumulates a first-order estimate of what removing each edge u → v costs.

        score(u → v) = Σ over prompts and positions of (ablated_u - clean_u) · ∂M/∂input_v

    M is the metric, mean over answers, oriented so that higher is worse: a higher score means that
    removing the edge hurts more, in units of M, as in ACDC. The gradient may be the mean of the
    gradients at several points, added one by one; the difference is always that between clean and
    ablated output. Prompts are processed in groups that fit the problem's memory, which affects
    rounding only.

    Args:
        problem: the problem.
        points: number of points at which gradients will be added, with equal weights.
        propagation: what takes the place of gradients.
        outputs_held: how many outputs of every source are held at once.
    """

    def __init__(
        self,
        problem: ScoringProblem,
        points: int,
        propagation: Propagation = GRADIENTS,
        outputs_held: int = 1,
    ) -> None:
        self.problem, self.propagation = problem, propagation
        self.bench = problem.bench
        self.topology = self.bench.weights.topology
        self.weight = 1.0 / points
        self.prompts_at_once = max_prompts_at_once(self.bench, problem.memory, outputs_held)
        self.index = {node: i for i, node in enumerate(self.topology.sources)}
        self._scores = {
            receiver: torch.zeros(self.topology.n_sources_of(receiver), dtype=torch.float64)
            for receiver in self.topology.receivers
        }
        self._done = 0.0

    def add(self, streams: Streams, sources: Collection[Node] | None = None) -> None:
        """Add the gradients at the point where nodes read `streams`.

        Args:
            streams: the residual streams of all prompts.
            sources: the sources whose edges the point counts for, adjacent in computation order;
                None means all. All sources need the same number of points.
        """
        bench = self.bench
        at_final = self.at_final(streams.final)
        rows = [self.index[node] for node in sources or self.topology.sources]
        first, end = min(rows), max(rows) + 1
        for chosen in self.groups:
            step = bench.ablated[first:end, chosen] - bench.clean.outputs[first:end, chosen]
            self.add_prompts(chosen, streams.of_prompts(chosen), at_final[chosen], step, first)

    @property
    def groups(self) -> list[slice]:
        """The prompts that are processed together."""
        n = self.prompts_at_once
        return [slice(start, start + n) for start in range(0, self.bench.layout.batch, n)]

    def at_final(self, final: Stream) -> Stream:
        """The gradient by the final stream of all prompts, or what takes its place."""
        return self.propagation.final(self.problem.differentiable, self.bench.layout, final)

    def add_prompts(
        self,
        chosen: slice,
        streams: Streams,
        at_final: Stream,
        step: Float[Tensor, "n batch pos d_model"],
        first: int = 0,
    ) -> None:
        """Add the gradients at one point for some prompts.

        Args:
            chosen: the prompts.
            streams: their residual streams.
            at_final: the gradient by the last of these.
            step: what gradients are multiplied by, for the sources from number `first` on.
        """
        bench = self.bench
        spans = rows_by_span(bench.layout, self.topology.spans, chosen)
        for group in receiver_gradients(bench.weights, streams, at_final, self.propagation):
            self._add_group(group, step, first, spans)
        of_sources = len(step) / len(self.topology.sources)
        self._done += self.weight * of_sources * len(step[0]) / bench.layout.batch
        self.problem.advance(min(1.0, self._done))

    def scores(self) -> EdgeScores:
        """The score of every edge of the graph."""
        by_edge = torch.cat([self._scores[receiver] for receiver in self.topology.receivers])
        return dict(zip(self.topology.edges, by_edge.tolist(), strict=True))

    def _add_group(
        self,
        group: ReceiverGradients,
        step: Float[Tensor, "n batch pos d_model"],
        first: int,
        spans: Sequence[tuple[str | None, Int[Tensor, " row"] | None]],
    ) -> None:
        n_sources = self.topology.n_sources_of(group.receivers[0])
        seen = step[: max(0, n_sources - first)]
        for span, rows in spans:
            at_step, gradient = (
                x if rows is None else x.flatten(1, 2).index_select(1, rows)
                for x in (seen, group.gradient)
            )
            # The long axis is summed over. In this order, and with few prompts, it is twice as
            # fast.
            products = at_step.flatten(1) @ gradient.flatten(1).T
            for receiver, row in zip(group.receivers, products.T.cpu().double(), strict=True):
                scores = self._scores.get(replace(receiver, span=span))
                if scores is not None:  # `logits` is read in the spans of answers alone
                    scores[first : first + len(seen)] += self.weight * row


def max_prompts_at_once(bench: Bench, memory: int, outputs_held: int = 1) -> int:
    """How many prompts can be processed at once in `memory` bytes; at least one.

    Held are `outputs_held` outputs or differences of every source, and of one layer at a time some
    streams for each head, its queries, keys, values and patterns, and the hidden units of the MLP,
    or some streams for each of its experts.
    """
    n_heads, d_model = bench.weights.topology.n_heads, bench.weights.d_model
    d_head = head_width(bench.weights)
    pos = bench.layout.pos
    layer = n_heads * (8 * d_model + 10 * d_head + 5 * pos) + 8 * mlp_width(bench.weights)
    layer += 5 * expert_receivers(bench.weights) * d_model
    row = outputs_held * len(bench.weights.topology.sources) * d_model + layer
    per_prompt = pos * row * bench.ablated.element_size()
    enough = math.ceil(_ROWS / pos)
    return max(1, min(bench.layout.batch, memory // per_prompt, enough))
