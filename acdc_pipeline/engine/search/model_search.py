"""What the searches of a model on its prompts have in common, in the process that computes them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

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
