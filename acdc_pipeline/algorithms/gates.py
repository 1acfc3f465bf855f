"""Trained gates on edges or nodes: edge pruning and subnetwork probing.

Gates are hard concrete (Louizos et al. 2018, arXiv 1712.01312, section 2.2, with its constants):
random numbers from 0 to 1 that are often exactly 0 or 1. A gate has one parameter, log α: at 0 it
is open as often as closed, and the higher it is, the more open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.nodes import edge_scores_of_nodes, scored_outputs
from acdc_pipeline.algorithms.scoring import EdgeScores, MeanProblem, ScoringProblem
from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.forward import expert_receivers, head_width, mlp_width
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient, node_gate_gradient
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.methods.ensembles import EapIgEdgePruningMethod
from acdc_pipeline.specs.methods.scored import EdgePruningMethod, SubnetworkProbingMethod

BETA = 2 / 3
"""Temperature: the lower it is, the more often gates are exactly 0 or 1."""
STRETCH = (-0.1, 1.1)
"""The range that the sigmoid is stretched to before it is clipped to [0, 1]."""
CLOSED_LOG_ODDS = BETA * log(-STRETCH[0] / STRETCH[1])
"""The log α of a gate that is exactly 0 half of the time."""

# Uniform random numbers keep this distance from 0 and 1, whose logits are infinite.
_MARGIN = 1e-6
START = 2.0
"""The log α that gates start with: mostly open, near the whole model."""
# The fraction of the steps in which the target sparsity of edge pruning rises to its final value.
_WARM_UP = 0.5


def edge_pruning(problem: MeanProblem, method: EdgePruningMethod) -> EdgeScores:
    """The log-odds of a trained gate on each edge (Bhaskar et al. 2024, arXiv 2406.16778).

        min over log α, max over λ:  E_z M(circuit with gates z) + λ₁ (t - s) + λ₂ (t - s)²

    z are the gates, s is the expected share of closed edges, and t the share of edges that a
    circuit of the given size leaves out; t rises from 0 during the first half of the steps. A gate
    interpolates between the source's current output and its ablated one. The paper uses KL
    divergence as M, also has gates on nodes, which are left out here, and rounds to the target at
    the end, which `graph.cut` does here. Higher means more needed; a gate of score 0 is open as
    often as closed. The scores are trained for this size of circuit; for another size, training
    again is better than cutting. Each step costs a forward and a backward pass with the gates of
    all edges.
    """
    start = problem.like.new_full((problem.topology.n_edges,), START)
    return prune_edges(problem, method, start, 0.0)


def prune_edges(
    problem: MeanProblem,
    method: EdgePruningMethod | EapIgEdgePruningMethod,
    start: Float[Tensor, " gate"],
    closed: float,
) -> EdgeScores:
    """`edge_pruning` from gates of the log α `start`, with t rising from `closed`."""
    n_edges = problem.topology.n_edges
    target = 1 - method.size(n_edges) / n_edges
    multipliers = [torch.zeros((), requires_grad=True) for _ in range(2)]

    def penalty(log_alpha: Float[Tensor, " gate"], done: float) -> Float[Tensor, ""]:
        now_closed = 1 - probability_open(log_alpha).mean()
        gap = closed + (target - closed) * min(1.0, done / _WARM_UP) - now_closed
        return multipliers[0] * gap + multipliers[1] * gap**2

    log_alpha = train_gates(
        problem,
        lambda gates: problem.mean(_edge_gradient, gates),
        start,
        steps=method.steps,
        learning_rate=method.learning_rate,
        penalty=penalty,
        ascending=multipliers,
    )
    return dict(zip(problem.topology.edges, log_alpha.tolist(), strict=True))


def subnetwork_probing(problem: MeanProblem, method: SubnetworkProbingMethod) -> EdgeScores:
    """The log-odds of a trained gate on each node (Cao et al. 2021, arXiv 2104.03514).

        min over log α:  E_z M(circuit with gates z) + λ · expected share of gates that are open

    with λ the penalty of the method. The paper masks weights and fits a probe; this is the variant
    that Conmy et al. 2023 (arXiv 2304.14997) compare with ACDC: gates on heads and MLPs, each of
    which interpolates between the current output and the ablated one, and no probe. An edge has the
    score of its weaker end. Higher means more needed; a gate of score 0 is open as often as closed.
    In a graph with spans a node has a gate in each of them. Each step costs a forward and a
    backward pass.
    """
    topology = problem.topology
    candidates = scored_outputs(topology)

    def penalty(
        log_alpha: Float[Tensor, " gate"],
        done: float,
    ) -> Float[Tensor, ""]:
        return method.penalty * probability_open(log_alpha).mean()

    log_alpha = train_gates(
        problem,
        lambda gates: problem.mean(_node_gradient, gates),
        problem.like.new_full((len(candidates),), START),
        steps=method.steps,
        learning_rate=method.learning_rate,
        penalty=penalty,
    )
    outputs = dict(zip(candidates, log_alpha.tolist(), strict=True))
    return edge_scores_of_nodes(topology, outputs, method.ranking)


def _edge_gradient(
    problem: ScoringProblem, gates: Float[Tensor, " gate"]
) -> Float[Tensor, " gate"]:
    return edge_gate_gradient(problem.bench, problem.differentiable, gates, problem.memory)


def _node_gradient(
    problem: ScoringProblem, gates: Float[Tensor, " gate"]
) -> Float[Tensor, " gate"]:
    # The gates of the input stay open.
    n_open = len(problem.topology.spans) or 1
    every = torch.cat([gates.new_ones(n_open), gates])
    at_once = max_prompts_on_tape(problem.bench, problem.memory)
    return node_gate_gradient(problem.bench, problem.differentiable, every, at_once)[n_open:]


def train_gates(
    problem: MeanProblem,
    gradient: Callable[[Float[Tensor, " gate"]], Float[Tensor, " gate"]],
    start: Float[Tensor, " gate"],
    *,
    steps: int,
    learning_rate: float,
    penalty: Callable[[Float[Tensor, " gate"], float], Float[Tensor, ""]],
    ascending: Sequence[Float[Tensor, ""]] = (),
) -> Float[Tensor, " gate"]:
    """Train gates by Adam on the expected objective plus `penalty`, and return their log α.

    Each step draws every gate once, for all prompts.

    Args:
        problem: the problem; its seed draws the gates.
        gradient: the gradient of the objective with respect to the gates, as a function of them.
        start: the log α of each gate before the first step.
        steps: steps of the optimiser.
        learning_rate: learning rate of Adam, for gates and `ascending`.
        penalty: the cost of open gates, as a function of log α and the fraction of steps done.
        ascending: parameters of the penalty that are maximised while the gates are minimised.

    Raises:
        InvalidInput: the gradient is 0 in every step, so that the penalty alone would decide.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    log_alpha = start.clone().requires_grad_()
    groups: list[dict[str, object]] = [{"params": [log_alpha]}]
    if ascending:
        groups.append({"params": list(ascending), "maximize": True})
    optimiser = torch.optim.Adam(groups, lr=learning_rate)
    steered = False
    with torch.enable_grad():
        for step in range(steps):
            gates = sample_gates(log_alpha, generator)
            slope = gradient(gates.detach())
            steered = steered or bool(slope.any())
            loss = (gates * slope).sum() + penalty(log_alpha, step / steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            problem.advance((step + 1) / steps)
    if steps and not steered:
        raise InvalidInput(
            "its gradient is 0 wherever gates were trained, so that no edge gets a score",
            field="metric",
            fix="choose another metric, or a method without gradients: acdc, exact, node-exact",
        )
    return log_alpha.detach()


def max_prompts_on_tape(bench: Bench, memory: int) -> int:
    """How many prompts a backward pass through all layers at once can hold in `memory` bytes.

    Per layer: the input of each slot of each head (raw, normalised, and the sum it came from), its
    queries, keys, values and patterns, two copies of its output, the hidden units of the MLP, and
    two copies of what each of its experts writes.
    """
    n_heads, d_model = bench.weights.topology.n_heads, bench.weights.d_model
    d_head = head_width(bench.weights)
    d_mlp = mlp_width(bench.weights)
    pos = bench.layout.pos
    layer = n_heads * (11 * d_model + 10 * d_head + 5 * pos) + 6 * d_model + 6 * d_mlp
    layer += 2 * expert_receivers(bench.weights) * d_model
    per_prompt = pos * len(bench.weights.blocks) * layer * bench.ablated.element_size()
    return max(1, min(bench.layout.batch, memory // per_prompt))


def sample_gates(
    log_alpha: Float[Tensor, " gate"], generator: torch.Generator
) -> Float[Tensor, " gate"]:
    """Draw every gate once, differentiably in `log_alpha`."""
    drawn = torch.rand(log_alpha.shape, generator=generator, dtype=log_alpha.dtype)
    noise = drawn.clamp(_MARGIN, 1 - _MARGIN).logit().to(log_alpha.device)
    low, high = STRETCH
    soft = torch.sigmoid((noise + log_alpha) / BETA)
    return (low + (high - low) * soft).clamp(0, 1)


def probability_open(log_alpha: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
    """The probability that each gate is not exactly 0, differentiable in `log_alpha`."""
    return torch.sigmoid(log_alpha - CLOSED_LOG_ODDS)


def expected_gates(log_alpha: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
    """The gates of a trained circuit, 0 to 1 (Louizos et al. 2018, equation 13)."""
    low, high = STRETCH
    return (low + (high - low) * torch.sigmoid(log_alpha)).clamp(0, 1)
