"""Subnetwork probing: a gate on every node, trained (Cao et al. 2021, arXiv 2104.03514)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.gate_training import prompts_whose_tape_fits, train_gates
from acdc_pipeline.algorithms.hard_concrete import chance_open
from acdc_pipeline.algorithms.node_scores import edges_of_nodes
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.engine.gradients.gates import node_gate_gradient
from acdc_pipeline.specs.scored_method import SubnetworkProbingMethod


def subnetwork_probing(question: Question, method: SubnetworkProbingMethod) -> EdgeScores:
    """How open gradient descent leaves the gate of each node, as a log-odds.

        min over log α:  E_z M(circuit with gates z) + λ · expected share of gates that are open

    with hard concrete gates z (`hard_concrete`) and λ the method's penalty. The paper masks
    weights and fits a probe; this is the form that Conmy et al. 2023 (arXiv 2304.14997) compare
    with ACDC: gates on heads and MLPs, each mixing its current output with its ablated one, and no
    probe. An edge is worth as much as its weaker end. Higher means more needed; 0 is as often open
    as closed. Costs a forward and a backward for each step.
    """
    topology = question.bench.weights.topology
    candidates = topology.sources[1:]

    at_once = prompts_whose_tape_fits(question.bench, question.memory)

    def gradient(gates: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
        # The input is no candidate: it stays open.
        every = torch.cat([gates.new_ones(1), gates])
        return node_gate_gradient(question.bench, question.differentiable, every, at_once)[1:]

    def penalty(
        log_alpha: Float[Tensor, " gate"],
        done: float,  # noqa: ARG001  (every penalty has it; this one stays as it is)
    ) -> Float[Tensor, ""]:
        return method.penalty * chance_open(log_alpha).mean()

    log_alpha = train_gates(
        question,
        gradient,
        len(candidates),
        steps=method.steps,
        learning_rate=method.learning_rate,
        penalty=penalty,
    )
    nodes = dict(zip(candidates, log_alpha.tolist(), strict=True))
    return edges_of_nodes(topology, nodes, method.ranking)
