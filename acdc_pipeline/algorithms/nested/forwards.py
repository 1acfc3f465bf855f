"""What circuits and gradients cost in forwards: by the multiply-adds of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from acdc_pipeline.algorithms.eap import source_groups
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.circuit_forward import DENSE
from acdc_pipeline.engine.gradients.gates import prompts_that_fit
from acdc_pipeline.engine.layout import reads_every_row
from acdc_pipeline.engine.shared_outputs import identify_outputs
from acdc_pipeline.graph import LOGITS, SLOTS, Node, Receiver, Topology
from acdc_pipeline.models.weights import Attention

Mask = Bool[np.ndarray, " edge"]
Values = Float[np.ndarray, " edge"]

PASSES = 3.0
"""Passes of a gradient, each as dear as a forward: the forward, each layer's forward once more, and
the backward, which computes gradients by activations but none by weights."""


class Forwards:
    """Costs in units of one forward of the whole model on the prompts of a bench.

    What is counted are the multiply-adds of matrix products, at each position: of a head its
    projections, scores and mixture of values; of an MLP or a mixer its weights; of an answer the
    logits over the vocabulary. A forward of the whole model reads one stream. A circuit reads a sum
    of outputs for each receiver, which is a product with a matrix of one entry for each edge: an
    edge counts as many multiply-adds as the stream is wide. In the last layer a circuit is computed
    at the answers alone, but for keys and values. Prompts are counted at full length.

    A forward is half of `set_up`, which runs the model twice and computes logits once.

    Attributes:
        multiply_adds: those of one forward, on all prompts.
        at_answers: the share of positions that have answers.
        of_source: what each source costs. With half of `of_answers` they add up to 1.
        in_circuit: what each source costs in a circuit.
        of_edge: what reading one edge costs.
        of_edges: what reading every edge of a graph without spans costs, once.
        of_answers: what the logits of all answers cost.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.weights = bench, bench.weights.without_one_span
        self.topology: Topology = self.weights.topology
        layout, work = bench.layout, np.zeros(len(self.topology.sources))
        answers_at_position = len(layout.answer_row) / layout.batch / layout.pos
        self.at_answers = min(1.0, answers_at_position)
        for layer, block in enumerate(self.weights.shapes):
            at, mlps = self.topology.head_sources(layer), self.topology.mlp_sources(layer)
            if block.attn is not None:
                work[at.start : at.stop] = _of_head(block.attn, layout.pos)
            mixer = self.topology.mixer_source(layer)
            if mixer is not None and block.mixer is not None:
                work[mixer] = block.mixer.n_weights
            if block.mlp is not None:
                work[mlps.start : mlps.stop] = block.mlp.n_weights / len(mlps)
        answers = answers_at_position * self.weights.w_u.numel()
        total = work.sum() + answers / 2
        self.multiply_adds = total * layout.batch * layout.pos
        self.of_source: Float[np.ndarray, " src"] = work / total
        self.in_circuit = self.of_source.copy()
        last, block = self.topology.n_layers - 1, self.weights.shapes[-1]
        at, mlps = self.topology.head_sources(last), self.topology.mlp_sources(last)
        if block.attn is not None:
            everywhere = block.attn.w_k[0].numel() + block.attn.w_v[0].numel()
            of_rest = self.at_answers * (work[at.start] - everywhere)
            self.in_circuit[at.start : at.stop] = (everywhere + of_rest) / total
        self.in_circuit[mlps.start : mlps.stop] *= self.at_answers
        self.of_edge = self.weights.d_model / total
        self.of_edges = self.topology.collapsed.n_edges * self.of_edge
        self.of_answers = answers / total

    def gradient(self, *, apart: bool) -> float:
        """The cost of the gradient by the inputs of all receivers, times what each source writes.

        Args:
            apart: whether the gradient is by the gates of edges: all passes read every edge apart,
                in place of one product with the gradient.
        """
        return PASSES * (1 + self.of_answers) + self.of_edges * (PASSES if apart else 1)

    def integral(self, points: int, memory: int) -> float:
        """The cost of gradients by gates at some points.

        Where not all prompts fit `memory` bytes at once, each takes one more forward.
        """
        split = prompts_that_fit(self.bench, memory) < self.bench.layout.batch
        return points * (self.gradient(apart=True) + split * (1 + self.of_edges))

    def along_path(self, points: int) -> float:
        """The cost of `path_scores`.

        For each point: a gradient, its product with a second difference of outputs, and a forward.
        """
        return points * (self.gradient(apart=False) + 1 + self.of_edges)

    def gradients_by_group(self) -> float:
        """The cost of one point of `eap_ig_activations`: for each group a gradient after it."""
        groups = list(source_groups(self.topology))
        follow = sum(map(self._after, groups))
        return PASSES * (follow + len(groups) * self.of_answers) + self.of_edges

    def _after(self, group: Sequence[Node]) -> float:
        """The cost of the sources that are computed again if those of one group are changed."""
        after = self.topology.source_index[group[-1]] + 1
        layer = group[-1].layer
        if self.topology.parallel and layer is not None:  # parts do not read one another
            after = self.topology.first_source(layer + 1)
        return float(self.of_source[after:].sum())

    def circuits(self, masks: Sequence[Mask]) -> float:
        """The cost of circuits that run together: outputs that several need are computed once."""
        if self.weights.spans is not None:
            return len(masks) * (1 + self.of_edges + self.of_answers)
        ids = identify_outputs(self.weights, masks)
        spent, known = len(masks) * self.of_answers, set[int]()
        for mask, of_mask in zip(masks, ids, strict=True):
            new = [s for s in range(1, len(of_mask)) if of_mask[s] >= 0]
            new = [s for s in new if int(of_mask[s]) not in known]
            known.update(of_mask[new].tolist())
            spent += float(self.in_circuit[new].sum()) + self._reads(mask, new)
        return spent

    def _reads(self, mask: Mask, new: Sequence[int]) -> float:
        """The cost of the sums that some sources and the logits read in a circuit."""
        receivers = [Receiver(LOGITS)]
        for source in new:
            node = self.topology.sources[source]
            if node.kind == "head":
                receivers += [Receiver(node, slot) for slot in SLOTS]
            else:
                receivers += self.topology.receivers_of([node])
        read, last = 0.0, self.topology.n_layers - 1
        for receiver in receivers:
            n = self.topology.n_sources_of(receiver)
            first = self.topology.first_edge[receiver]
            present = int(mask[first : first + n].sum())
            in_part = receiver.node.layer in (None, last) and not reads_every_row(receiver)
            read += (n if present * DENSE >= n else present) * (self.at_answers if in_part else 1)
        return read * self.of_edge


def _of_head(attn: Attention, positions: int) -> int:
    """The multiply-adds of a query head at one position: with keys and values of its own."""
    matrices = (attn.w_q, attn.w_k, attn.w_v, attn.w_o)
    return sum(m[0].numel() for m in matrices) + positions * (attn.d_qk + attn.w_v.shape[2])
