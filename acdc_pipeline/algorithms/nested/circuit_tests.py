"""Exact tests of circuits and gradients by gates, counted in forwards against a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.eap import attribute_by_group
from acdc_pipeline.algorithms.nested.forwards import Forwards, Mask
from acdc_pipeline.algorithms.nested.path_scores import PathScores, path_scores
from acdc_pipeline.algorithms.scoring import ScoringProblem, scale_progress
from acdc_pipeline.engine.circuit_forward import run_circuits_to_answers
from acdc_pipeline.engine.gradients.gates import edge_gate_gradient, edge_gate_gradient_from
from acdc_pipeline.engine.gradients.receiver_gradients import backpropagate
from acdc_pipeline.engine.objectives import KlObjective, LogprobObjective, mean_over_answers
from acdc_pipeline.graph.cut import score_array
from acdc_pipeline.graph.topology import Topology

MOST = 0.99
"""The most that is reported as done before the end."""

_LEAST_VARIANCE = 1e-24
"""Keeps the gradient of a square root finite."""

_AT_ONCE = 64
"""Circuits that are run together, so that what they have in common is computed once."""


@dataclass(frozen=True)
class Tested:
    """A circuit as it was measured.

    Args:
        value: M(circuit) - M(model), with M oriented so that higher is worse; mean over answers.
        loss: how far the circuit is from the model, see `CircuitTests`; lower is better.
        final: its final stream at the answers.
    """

    mask: Mask
    value: float
    loss: float
    final: Float[Tensor, "answer d_model"]


class CircuitTests:
    """Measures circuits of one problem, and counts what that costs.

    The loss of a circuit is |mean d| + s / √n over the n answers, where d is the metric of an
    answer in the circuit less that in the model (with KL divergence: the divergence) and s its
    standard deviation: the distance on other prompts of the same draw, should their mean differ by
    one standard error.

    The unit of cost is a forward of the whole model on all prompts, see `Forwards`.

    Args:
        problem: whose `advance` is called with the share of `budget` that gradients of the whole
            model have spent.
        budget: forwards, all that is to be spent; what exceeds it is not refused.

    Attributes:
        forwards: what everything costs.
        spent: forwards so far.
    """

    def __init__(self, problem: ScoringProblem, budget: float = math.inf) -> None:
        self.problem, self.bench, self.budget = problem, problem.bench, budget
        self.topology: Topology = problem.topology
        self.forwards, self.spent = Forwards(problem.bench), 0.0
        self._known: dict[bytes, Tested] = {}
        whole = self.bench.layout.at_answers(self.bench.clean.final.flatten(0, 1))[None]
        assert isinstance(problem.objective, KlObjective | LogprobObjective)
        self._exact, self._differentiable = problem.objective, problem.differentiable
        with torch.no_grad():
            self._of_model = self._exact.per_answer(whole).double()

    def _loss(
        self, by_answer: Float[Tensor, "state answer"]
    ) -> tuple[Float[Tensor, " state"], Float[Tensor, " state"]]:
        """The mean distance from the model, and the loss."""
        weight = self._exact.answer_weight
        apart = by_answer.double() - self._of_model
        mean = mean_over_answers(apart, weight)
        variance = mean_over_answers((apart - mean[:, None]) ** 2, weight)
        return mean, mean.abs() + (variance / apart.shape[1] + _LEAST_VARIANCE).sqrt()

    def loss_of(self, final: Float[Tensor, "state answer d_model"]) -> Float[Tensor, " state"]:
        """The loss of circuits with these final streams, see `CircuitTests`."""
        return self._loss(self._exact.per_answer(final))[1]

    def cost(self, masks: Sequence[Mask]) -> float:
        """The forwards that `test` of these circuits takes."""
        new = self._new(masks)
        batches = [new[i : i + _AT_ONCE] for i in range(0, len(new), _AT_ONCE)]
        return sum((self.forwards.circuits(batch) for batch in batches), 0.0)

    def _new(self, masks: Sequence[Mask]) -> list[Mask]:
        """The circuits that were not measured before, each once."""
        once = {mask.tobytes(): mask for mask in masks}
        return [mask for key, mask in once.items() if key not in self._known]

    def test(self, masks: Sequence[Mask]) -> list[Tested]:
        """Measure circuits; those measured before cost nothing."""
        new = self._new(masks)
        self.spent += self.cost(new)
        bench = self.bench
        for first in range(0, len(new), _AT_ONCE):
            batch = np.stack(new[first : first + _AT_ONCE])
            with torch.no_grad():
                finals = run_circuits_to_answers(
                    bench.weights, bench.prompts.clean, bench.ablated, batch, bench.layout
                )
                means, losses = self._loss(self._exact.per_answer(finals))
            for mask, final, mean, loss in zip(
                batch, finals, means.tolist(), losses.tolist(), strict=True
            ):
                self._known[mask.tobytes()] = Tested(mask, mean, loss, final)
        return [self._known[mask.tobytes()] for mask in masks]

    def gradient(self, tested: Tested) -> Float[np.ndarray, " edge"]:
        """The first-order change of the loss when an edge is closed, by edge: higher is needed.

        For an edge outside the circuit it is what is lost by not opening it.
        """
        self.spent += self.forwards.gradient(apart=True)
        gates = torch.from_numpy(tested.mask).to(self.bench.ablated)
        at_answers = backpropagate(
            lambda final: self._loss(self._differentiable.per_answer(final[None]))[1].sum(),
            tested.final,
        )
        memory = self.problem.memory
        by_gate = edge_gate_gradient_from(self.bench, at_answers, gates, memory)
        return -by_gate.double().numpy(force=True)

    def integrated(self, mask: Mask, points: Sequence[float]) -> Float[np.ndarray, " edge"]:
        """Minus the mean gradient of M by the gates, at `points` times the gates of a circuit."""
        total = np.zeros(len(mask))
        gates = torch.from_numpy(mask).to(self.bench.ablated)
        self.spent += self.forwards.integral(len(points), self.problem.memory)
        for point in points:
            gradient = edge_gate_gradient(
                self.bench, self._differentiable, point * gates, self.problem.memory
            )
            total -= gradient.double().numpy(force=True) / len(points)
        return total

    def by_group(self, points: Sequence[float]) -> Float[np.ndarray, " edge"]:
        """The scores of `eap_ig_activations` with the mean gradient over `points`."""
        part = self._part(len(points) * self.forwards.gradients_by_group())
        return score_array(self.topology, attribute_by_group(part, points))

    def along_path(self, points: int) -> PathScores:
        """The scores of `path_scores`."""
        return path_scores(self._part(self.forwards.along_path(points)), points)

    def _part(self, cost: float) -> ScoringProblem:
        """The problem as the part of the work that the next `cost` forwards are."""
        begin, self.spent = self.spent, self.spent + cost
        ends = (min(MOST, spent / self.budget) for spent in (begin, self.spent))
        return scale_progress(self.problem, *ends)
