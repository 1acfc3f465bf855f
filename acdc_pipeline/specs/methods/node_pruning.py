"""Multi-granular node pruning: its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from acdc_pipeline.specs.base import rejection
from acdc_pipeline.specs.methods.base import NO_GRADIENT, Default
from acdc_pipeline.specs.methods.scored import ScoredMethod, Spread
from acdc_pipeline.specs.names import MetricKey


class NodePruningMethod(ScoredMethod):
    """Gates on blocks, heads and the neurons of MLPs, trained together (Haider et al. 2025).

    Args:
        steps: of the optimiser.
        learning_rate: of Adam.
        penalty: what keeping the gates of all heads open costs, in units of the metric.
        block_penalty: what keeping those of all blocks open costs.
        neuron_penalty: what keeping those of all neurons open costs.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of the trained gates of its weaker end"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.node_pruning:node_pruning"
    POSITIONAL: ClassVar[bool] = False

    name: Literal["node-pruning"]
    steps: Annotated[int, Field(ge=1), Default(300)]
    learning_rate: Annotated[float, Field(gt=0), Default(0.1)]
    penalty: Annotated[float, Field(gt=0), Default(1.0)]
    block_penalty: Annotated[float, Field(gt=0), Default(1.0)]
    neuron_penalty: Annotated[float, Field(gt=0), Default(1.0)]

    @property
    def spread(self) -> Spread:
        return "steps"

    @model_validator(mode="after")
    def _neurons_are_ablated(self) -> Self:
        if self.ablation != "corrupted":
            problem = "the value of a removed neuron is that on the corrupted prompt"
            raise rejection("ablation", problem, allowed="corrupted")
        return self
