"""Scores of edges to first order: gradients of receivers times differences of sources."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.forward import Streams
from acdc_pipeline.engine.gradients.receiver_gradients import (
    ReceiverGradients,
    final_gradient,
    receiver_gradients,
)
from acdc_pipeline.graph import Node

_ROWS = 192
"""Positions of prompts taken together: products gain nothing from more, and memory traffic does."""


class EdgeAttribution:
    """Adds up, for every edge u → v, what replacing u's output at v is worth to first order.

        score(u → v) = Σ over prompts and positions of (ablated_u - clean_u) · ∂M/∂input_v

    M is the metric, mean over answers, oriented so that higher is worse: a higher score means that
    removing the edge hurts more, in units of M, as the effect does that ACDC measures. The
    gradient may be a mean of gradients at several points, added one by one; the step from clean
    to ablated is always the whole one. Prompts are taken in groups that the question's memory
    holds, which moves roundings and nothing else.

    Args:
        question: what is asked.
        points: at how many points gradients will be added; each counts for as much as the others.
    """

    def __init__(self, question: Question, points: int) -> None:
        self.question = question
        self.bench = question.bench
        self.topology = self.bench.weights.topology
        self.weight = 1.0 / points
        self.prompts_at_once = prompts_that_fit(self.bench, question.memory)
        self.index = {node: i for i, node in enumerate(self.topology.sources)}
        self._scores = {
            receiver: torch.zeros(self.topology.n_sources_of(receiver), dtype=torch.float64)
            for receiver in self.topology.receivers
        }
        self._done = 0.0

    def add(self, streams: Streams, sources: Collection[Node] | None = None) -> None:
        """Add the gradients at the point where nodes read `streams`.

        Args:
            streams: of all prompts.
            sources: the sources, side by side in computation order, that this is a point of; None
                means all. The edges out of each source need as many points as those of any other.
        """
        bench = self.bench
        at_final = final_gradient(self.question.differentiable, bench.layout, streams.final)
        rows = [self.index[node] for node in sources or self.topology.sources]
        first, end = min(rows), max(rows) + 1
        for start in range(0, bench.layout.batch, self.prompts_at_once):
            chosen = slice(start, start + self.prompts_at_once)
            step = bench.ablated[first:end, chosen] - bench.clean.outputs[first:end, chosen]
            part = streams.of_prompts(chosen)
            for group in receiver_gradients(bench.weights, part, at_final[chosen]):
                self._add_group(group, step, first)
            self._tell(len(rows), len(step[0]))

    def scores(self) -> EdgeScores:
        """What was added up, for every edge of the graph."""
        by_edge = torch.cat([self._scores[receiver] for receiver in self.topology.receivers])
        return dict(zip(self.topology.edges, by_edge.tolist(), strict=True))

    def _add_group(
        self, group: ReceiverGradients, step: Float[Tensor, "n batch pos d_model"], first: int
    ) -> None:
        n_sources = self.topology.n_sources_of(group.receivers[0])
        seen = step[: max(0, n_sources - first)]
        # The long axis is summed over: this way round, and with few prompts, twice as fast.
        products = seen.flatten(1) @ group.gradient.flatten(1).T
        for receiver, row in zip(group.receivers, products.T.cpu().double(), strict=True):
            self._scores[receiver][first : first + len(seen)] += self.weight * row

    def _tell(self, n_sources: int, n_prompts: int) -> None:
        of_sources = n_sources / len(self.topology.sources)
        self._done += self.weight * of_sources * n_prompts / self.bench.layout.batch
        self.question.advance(min(1.0, self._done))


def prompts_that_fit(bench: Bench, memory: int) -> int:
    """How many prompts' gradients, and steps of all sources, `memory` bytes hold; at least one.

    Beside the step of every source, one layer is held at a time: some streams for each head, its
    queries, keys, values and patterns, and the hidden units of the MLP.
    """
    block = bench.weights.blocks[0]
    n_heads, d_model, d_head = block.attn.w_q.shape
    d_mlp = 0 if block.mlp is None else block.mlp.w_in.shape[1]
    pos = bench.layout.pos
    layer = n_heads * (8 * d_model + 10 * d_head + 5 * pos) + 8 * d_mlp
    row = len(bench.weights.topology.sources) * d_model + layer
    per_prompt = pos * row * bench.ablated.element_size()
    enough = math.ceil(_ROWS / pos)
    return max(1, min(bench.layout.batch, memory // per_prompt, enough))
