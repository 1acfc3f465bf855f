"""Gates on blocks, heads and the neurons of MLPs, trained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.algorithms.gates import START, max_prompts_on_tape, probability_open, train_gates
from acdc_pipeline.algorithms.nodes import edge_scores_of_nodes
from acdc_pipeline.algorithms.scoring import (
    DetailedScores,
    EdgeScores,
    MeanProblem,
    ScoringProblem,
)
from acdc_pipeline.engine.gradients.unit_gates import (
    run_unit_gates,
    unit_counts,
    unit_gate_gradient,
)
from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.specs.methods.node_pruning import NodePruningMethod


def node_pruning(problem: MeanProblem, method: NodePruningMethod) -> EdgeScores:
    """The log-odds of trained gates on blocks, heads and neurons (Haider et al. 2025).

        min over log α:  E_z M(circuit with gates z) + Σ_g λ_g · expected share of open gates of g

    Multi-granular node pruning (arXiv 2512.10903), with a penalty λ_g for each granularity g:
    blocks (the heads of a layer together, its MLP, its mixer), heads (and experts), and neurons,
    the hidden units of MLPs. What a head writes is gated by its own gate times that of its block,
    and a neuron by its own times that of its MLP. A gate mixes the current value with that on the
    corrupted prompt, which is computed alongside. The paper also has gates on whole layers and on
    the dimensions of heads, which are left out here. A node has the score of the lowest gate
    between it and its readers: a head the lower one of its own and its block's, an MLP the lower
    one of its block's and of its best neuron's. An edge has the score of its weaker end. Higher
    means more needed; a gate of score 0 is open as often as closed. `details` of the result has the
    neurons that are kept: those with a score above 0 in MLPs with one above 0. Each step costs a
    forward and a backward pass.
    """
    topology = problem.topology
    counts = [round(n) for n in problem.mean(_unit_counts).tolist()]
    gates = _Granularities.of(topology, counts)
    penalties = [method.block_penalty, method.penalty, method.neuron_penalty]

    def penalty(log_alpha: Float[Tensor, " gate"], done: float) -> Float[Tensor, ""]:
        parts = gates.split(probability_open(log_alpha))
        costs = zip(penalties, parts, strict=True)
        return torch.stack([of_one * part.mean() for of_one, part in costs if len(part)]).sum()

    def gradient(drawn: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
        leaf = drawn.detach().requires_grad_()
        effective = gates.effective(leaf)
        slope = problem.mean(_gradient, effective.detach())
        return torch.autograd.grad(effective, leaf, slope)[0]

    log_alpha = train_gates(
        problem,
        gradient,
        problem.like.new_full((gates.total,), START),
        steps=method.steps,
        learning_rate=method.learning_rate,
        penalty=penalty,
    )
    nodes = gates.node_scores(log_alpha)
    kept = gates.kept_neurons(log_alpha)
    hard = torch.cat([nodes > 0, *kept]).to(problem.like)
    scores = edge_scores_of_nodes(
        topology,
        {(node, None): score for node, score in zip(gates.nodes, nodes.tolist(), strict=True)},
        method.ranking,
    )
    neurons = {
        f"m{layer}": {"of": len(mask), "kept": mask.nonzero().flatten().tolist()}
        for layer, mask in enumerate(kept)
        if len(mask)
    }
    value = float(problem.mean(_value, hard))
    return DetailedScores(scores, {"neurons": neurons, "cost_with_neurons": value})


@dataclass(frozen=True)
class _Granularities:
    """The gates of a model: those of blocks, of heads and experts, and of neurons, in this order.

    Args:
        nodes: every source but `input`.
        block_of: for each node, the number of its block.
        own: for each node, the number of its own gate among all; -1 where the block's is all.
        mlp_block: for each neuron, the number of the block of its MLP.
    """

    nodes: tuple[Node, ...]
    block_of: Int[Tensor, " node"]
    own: Int[Tensor, " node"]
    mlp_block: Int[Tensor, " neuron"]
    counts: Sequence[int]

    @classmethod
    def of(cls, topology: Topology, counts: Sequence[int]) -> _Granularities:
        """The gates of a model with `counts` hidden units in each layer."""
        nodes = topology.sources[1:]
        block = {}
        for node in nodes:
            block.setdefault((node.layer, _part(node)), len(block))
        single = {at for at in block if sum((n.layer, _part(n)) == at for n in nodes) == 1}
        n_blocks, own = len(block), []
        for node in nodes:
            alone = node.kind != "head" and (node.layer, _part(node)) in single
            own.append(-1 if alone else n_blocks + sum(at >= 0 for at in own))
        of_neuron = [
            block[layer, "mlp"] for layer, count in enumerate(counts) for _ in range(count)
        ]
        return cls(
            nodes,
            torch.tensor([block[node.layer, _part(node)] for node in nodes]),
            torch.tensor(own),
            torch.tensor(of_neuron, dtype=torch.int64),
            counts,
        )

    @property
    def n_blocks(self) -> int:
        """The number of gates of blocks."""
        return int(self.block_of.max()) + 1

    @property
    def total(self) -> int:
        """The number of all gates."""
        return self.n_blocks + int((self.own >= 0).sum()) + len(self.mlp_block)

    def split(self, gates: Float[Tensor, " gate"]) -> tuple[Float[Tensor, " _"], ...]:
        """The gates of blocks, of heads and experts, and of neurons."""
        heads = self.total - self.n_blocks - len(self.mlp_block)
        return gates.split([self.n_blocks, heads, len(self.mlp_block)])

    def effective(self, gates: Float[Tensor, " gate"]) -> Float[Tensor, " value"]:
        """What is gated: the output of each node, then each neuron within what its MLP writes."""
        own = torch.cat([gates, gates.new_ones(1)])[self.own.to(gates.device)]
        return torch.cat([gates[self.block_of.to(gates.device)] * own, self.split(gates)[2]])

    def node_scores(self, log_alpha: Float[Tensor, " gate"]) -> Float[Tensor, " node"]:
        """The lowest log α between each node and its readers."""
        infinite = log_alpha.new_full((1,), torch.inf)
        own = torch.cat([log_alpha, infinite])[self.own.to(log_alpha.device)]
        scores = torch.minimum(log_alpha[self.block_of.to(log_alpha.device)], own).cpu()
        best = {
            layer: part.max().cpu()
            for layer, part in enumerate(self.split(log_alpha)[2].split(list(self.counts)))
            if len(part)
        }
        for at, node in enumerate(self.nodes):
            if node.kind == "mlp" and node.layer in best:
                scores[at] = torch.minimum(scores[at], best[node.layer])
        return scores

    def kept_neurons(self, log_alpha: Float[Tensor, " gate"]) -> list[Bool[Tensor, " d_mlp"]]:
        """For each layer, which neurons are open in an MLP that is open."""
        open_mlp = log_alpha[self.mlp_block.to(log_alpha.device)] > 0
        kept = (self.split(log_alpha)[2] > 0) & open_mlp
        return list(kept.cpu().split(list(self.counts)))


def _part(node: Node) -> str:
    return {"head": "attention", "mixer": "mixer"}.get(node.kind, "mlp")


def _unit_counts(problem: ScoringProblem) -> Float[Tensor, " layer"]:
    return torch.tensor(unit_counts(problem.bench.weights), dtype=problem.like.dtype)


def _gradient(
    problem: ScoringProblem, effective: Float[Tensor, " value"]
) -> Float[Tensor, " value"]:
    nodes, units = _with_input(problem, effective)
    at_once = max_prompts_on_tape(problem.bench, problem.memory // 2)
    return unit_gate_gradient(problem.bench, problem.differentiable, nodes, units, at_once)[1:]


def _value(problem: ScoringProblem, effective: Float[Tensor, " value"]) -> Float[Tensor, " 1"]:
    """The metric with gates, oriented so that higher is worse."""
    bench = problem.bench
    nodes, units = _with_input(problem, effective)
    at_once = max_prompts_on_tape(bench, problem.memory // 2)
    with torch.no_grad():
        final = torch.cat(
            [
                run_unit_gates(bench, slice(at, at + at_once), nodes, units)
                for at in range(0, bench.layout.batch, at_once)
            ]
        )
        return problem.objective(bench.layout.at_answers(final.flatten(0, 1))[None])


def _with_input(
    problem: ScoringProblem, effective: Float[Tensor, " value"]
) -> tuple[Float[Tensor, " src"], Float[Tensor, " unit"]]:
    """The gates of all sources, that of `input` open, and those of the hidden units."""
    n_nodes = len(problem.topology.sources) - 1
    nodes = torch.cat([effective.new_ones(1), effective[:n_nodes]])
    return nodes, effective[n_nodes:]
