"""Edge pruning: a gate on every edge, trained (Bhaskar et al. 2024, arXiv 2406.16778)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.gate_training import train_gates
from acdc_pipeline.algorithms.hard_concrete import chance_open
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient
from acdc_pipeline.specs.scored_method import EdgePruningMethod

# Of all steps, those in which the target rises to where it stays.
_WARM_UP = 0.5


def edge_pruning(question: Question, method: EdgePruningMethod) -> EdgeScores:
    """How open gradient descent leaves the gate of each edge, as a log-odds.

        min over log α, max over λ:  E_z M(circuit with gates z) + λ₁ (t - s) + λ₂ (t - s)²

    z are hard concrete gates (`hard_concrete`), s the expected share of edges that are closed, and
    t the share that the circuit asked for leaves out; t rises from 0 during the first half of the
    steps. A gate mixes the source's current output with its ablated one. The paper takes the KL
    as M, has gates on nodes as well, which are left out here, and rounds at the end to the target;
    here `graph.cut` does that. Higher means more needed; 0 is as often open as closed. The scores
    are about this size of circuit: cutting them to another one is possible, training for it is
    better. Costs a forward and a backward for each step, with every edge's gate in both.
    """
    n_edges = question.bench.weights.topology.n_edges
    target = 1 - method.size(n_edges) / n_edges
    multipliers = [torch.zeros((), requires_grad=True) for _ in range(2)]

    def penalty(log_alpha: Float[Tensor, " gate"], done: float) -> Float[Tensor, ""]:
        closed = 1 - chance_open(log_alpha).mean()
        gap = target * min(1.0, done / _WARM_UP) - closed
        return multipliers[0] * gap + multipliers[1] * gap**2

    log_alpha = train_gates(
        question,
        lambda gates: edge_gate_gradient(
            question.bench, question.differentiable, gates, question.memory
        ),
        n_edges,
        steps=method.steps,
        learning_rate=method.learning_rate,
        penalty=penalty,
        ascending=multipliers,
    )
    return dict(zip(question.bench.weights.topology.edges, log_alpha.tolist(), strict=True))
