"""What circuits and gradients cost in forwards: by the multiply-adds of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from acdc_pipeline.algorithms.eap import source_groups
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.gradients.gates import prompts_that_fit
from acdc_pipeline.engine.layout import reads_every_row
from acdc_pipeline.engine.shared_outputs import identify_outputs
from acdc_pipeline.graph import LOGITS, SLOTS, Node, Receiver, Topology
from acdc_pipeline.models.weights import Attention

Mask = Bool[np.ndarray, " edge"]

PASSES = 3.0
"""Passes of a gradient: forward, the same again layer by layer, and backward by activations."""

DENSE = 8
"""The engine adds up single outputs, without a product, if fewer than one in so many is read."""


class Forwards:
    """Costs in units of one forward of the whole model on the prompts of a bench.

    What is counted are multiply-adds of matrix products: of a head its projections, scores and
    mixture of values, of an MLP or a mixer its weights, of an edge the width of the stream, for it
    is one entry of a matrix from what is written to what is read where edges are kept apart, and of
    an answer the logits over the vocabulary. A forward of the whole model reads one stream and has
    no edges. Circuits are computed at the answers alone in the last layer, but for what queries
    there read; prompts are counted at full length.

    Attributes:
        multiply_adds: of one forward, those of all prompts.
        of_source: what each source costs; 1 in total, but for the logits.
        in_circuit: the same where what follows is needed at the answers alone.
        of_edges: what reading all edges apart costs, once.
        of_answers: what the logits of all answers cost.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.weights = bench, bench.weights.without_one_span
        self.topology: Topology = self.weights.topology
        layout, work = bench.layout, np.zeros(len(self.topology.sources))
        self.at_answers = min(1.0, len(layout.answer_row) / layout.batch / layout.pos)
        for layer, block in enumerate(self.weights.shapes):
            at, mlps = self.topology.head_sources(layer), self.topology.mlp_sources(layer)
            if block.attn is not None:
                work[at.start : at.stop] = _of_head(block.attn, layout.pos)
            mixer = self.topology.mixer_source(layer)
            if mixer is not None and block.mixer is not None:
                work[mixer] = block.mixer.n_weights
            if block.mlp is not None:
                work[mlps.start : mlps.stop] = block.mlp.n_weights / len(mlps)
        answers = len(layout.answer_row) / layout.batch / layout.pos * self.weights.w_u.numel()
        total = work.sum() + answers / 2  # of the two runs of a bench, one has logits
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
        """Of a gradient by the inputs of all receivers, and its product with every source.

        Args:
            apart: whether edges are kept apart in the forward, too, and the gradient is by gates.
        """
        return PASSES * (1 + self.of_answers) + self.of_edges * (PASSES if apart else 1)

    def integral(self, points: int, memory: int) -> float:
        """Of gradients by gates between 0 and 1, with one more forward where prompts are split."""
        split = prompts_that_fit(self.bench, memory) < self.bench.layout.batch
        return points * (self.gradient(apart=True) + split * (1 + self.of_edges))

    def along_path(self, points: int) -> float:
        """Of `path_scores`: of each point a gradient, a run to its end, and a second product."""
        return points * (self.gradient(apart=False) + 1 + self.of_edges)

    def gradients_by_group(self) -> float:
        """Of one point of `eap_ig_activations`: of each group, the gradient in what follows it."""
        follow = sum(self._after(group) for group in source_groups(self.topology))
        groups = sum(1 for _ in source_groups(self.topology))
        return PASSES * (follow + groups * self.of_answers) + self.of_edges

    def _after(self, group: Sequence[Node]) -> float:
        """What the sources cost that are computed again if some of one layer are changed."""
        after = self.topology.source_index[group[-1]] + 1
        layer = group[-1].layer
        if self.topology.parallel and layer is not None:  # parts do not read one another
            after = self.topology.first_source(layer + 1)
        return float(self.of_source[after:].sum())

    def circuits(self, masks: Sequence[Mask]) -> float:
        """Of circuits that run together: of outputs that several need, once."""
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
        """What some sources and the logits read in a circuit."""
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
