"""The operations of the steps that `benchmarks.real` measures, counted from shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.shared_outputs import needed_sources


@dataclass(frozen=True)
class Work:
    """Operations of the parts that steps are made of, for all prompts.

    Args:
        forward: a clean forward without the unembedding.
        sums: every edge of the graph added up once.
        unembedding: logits at the answers.
        all_logits: logits at every position.
        layers_bytes: of the weights of all layers.
        logits_bytes: of the unembedding.
        outputs_bytes: of the outputs of all nodes at every position.
        answers_bytes: of those at the answers.
    """

    forward: float
    sums: float
    unembedding: float
    all_logits: float
    layers_bytes: float
    logits_bytes: float
    outputs_bytes: float
    answers_bytes: float

    @classmethod
    def of(cls, bench: Bench) -> Work:
        """Counted from the shapes of weights and prompts."""
        weights, rows = bench.weights, bench.layout.batch * bench.layout.pos
        block = weights.blocks[0]
        matrices = [
            block.attention.w_q,
            block.attention.w_k,
            block.attention.w_v,
            block.attention.w_o,
        ]
        per_row = sum(matrix.numel() for matrix in matrices)
        per_row += 0 if block.mlp is None else block.mlp.n_weights
        layers_bytes = float(len(weights.blocks) * per_row * weights.w_u.element_size())
        per_row += (
            2 * block.attention.w_q.shape[0] * block.attention.w_q.shape[2] * bench.layout.pos
        )
        logits = 2.0 * weights.w_u.numel()
        return cls(
            forward=2.0 * rows * len(weights.blocks) * per_row,
            sums=2.0 * weights.topology.n_edges * rows * weights.d_model,
            unembedding=logits * len(bench.layout.answer_row),
            all_logits=logits * rows,
            layers_bytes=layers_bytes,
            logits_bytes=float(weights.w_u.nbytes),
            outputs_bytes=float(bench.ablated.nbytes),
            answers_bytes=bench.ablated.nbytes / rows * len(bench.layout.answer_row),
        )

    def circuit(self, bench: Bench, mask: np.ndarray) -> float:
        """One circuit: the nodes its logits depend on, and its edges."""
        needed = needed_sources(bench.weights, mask)[1:].mean()
        return needed * self.forward + mask.mean() * self.sums + self.unembedding

    def circuit_bytes(self, bench: Bench, mask: np.ndarray) -> float:
        """What one circuit reads: the weights of these nodes, and what removed edges carry."""
        needed = needed_sources(bench.weights, mask)[1:].mean()
        outputs = self.outputs_bytes if needed else self.answers_bytes
        return needed * self.layers_bytes + outputs + self.logits_bytes
