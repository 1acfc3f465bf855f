"""What the searches of a model on its prompts have in common, in the process that computes them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.speculation import Batch, PlannedState
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.graph import Receiver
from acdc_pipeline.models.weights import TransformerWeights


class ModelSearch(Search[Batch]):
    """A search that evaluates its states itself.

    Args:
        memory: bytes for what is in addition to the outputs of all sources.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        layout: Layout,
        objective: Objective,
        memory: int,
    ) -> None:
        super().__init__(weights.topology)
        self.weights = weights
        self.clean = clean
        self.layout = layout
        self.objective = objective
        self.memory = memory

    @abstractmethod
    def _final(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[Float[Tensor, "state answer d_model"], Batch]:
        """The final residual streams of the planned states, and what `_commit` needs of them."""

    def _whole_model(self) -> float:
        final = self.layout.at_answers(self.clean.final.flatten(0, 1))
        return float(self.objective(final[None])[0])

    def _evaluate(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[list[float], Batch]:
        final, batch = self._final(receiver, plan)
        values = self.objective(final).tolist()
        if not all(map(math.isfinite, values)):
            raise ExecutionFailed(
                f"the metric is not a number after removing edges into '{receiver}'",
                fix="check the model's weights, or use --dtype float64",
            )
        self.states_evaluated += len(plan)
        return values, batch


class ChangeSearch(ModelSearch[Batch]):
    """A search that holds the activations of the current circuit, and follows changes of them.

    Attributes:
        recompute_after: the number of states after which all activations are recomputed, at the
            cost of about one state.
        multiply_adds: those of all states so far that `CountedWork` counts.
        circuit: the activations, as `CircuitState` or `PositionalState` hold them.
        scratch: memory for their changes.
    """

    max_states = 512
    # Later batches are as large as their predecessors' cost suggests.
    first_overhead = 4.0
    recompute_after = 256
    multiply_adds = 0
    circuit: Any
    scratch: Any
    _recomputed_at = 0

    @property
    def held(self) -> int:
        return self.circuit.held

    def _refresh(self) -> bool:
        """Recompute all activations after a restore, and regularly, by the count of states."""
        since = self.states_evaluated - self._recomputed_at
        due = self._restored or since >= self.recompute_after
        if due:
            self.circuit.recompute(self.scratch)
            self.speculation.overhead = self.first_overhead
            self._recomputed_at, self._restored = self.states_evaluated, False
        return due

    def _open(self, receiver: Receiver) -> None:
        self.circuit.open(receiver)

    def _commit(self, batch: Batch, state: int) -> None:
        self.circuit.apply(batch, state)
