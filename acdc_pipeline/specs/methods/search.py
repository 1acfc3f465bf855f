"""Methods that decide one edge after the other, at a threshold: their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import (
    NO_GRADIENT,
    BaseCircuitMethod,
    Default,
    MethodMetric,
)
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder, MetricKey


class SearchMethod(BaseCircuitMethod):
    """A search that removes an edge if that costs less than a threshold.

    Args:
        threshold: τ > 0, in units of the metric; no value suits every task.
        metric: the metric measured after each removal; by default the task's discovery metric.
        ablation: the value that a removed edge carries.
        order: direction among the heads of one layer.
        difference: whether a change for the better counts as none (`signed`) or by its size
            (`abs`). The defaults of order and difference are the paper's.
    """

    SCORE: ClassVar[str] = "what removing one costs in {metric}"
    KIND: ClassVar[str] = "test one edge after the other"
    SWEEP_LISTS: ClassVar[Mapping[str, str]] = {"threshold": "thresholds"}
    # measured: 0.004 with 0.7 % of the edges kept, 0.2 with 19 %
    TEST_COST: ClassVar[float] = 0.02

    name: Any  # comes first in the JSON
    threshold: float = Field(gt=0)
    metric: Annotated[MethodMetric, Default(None)]
    ablation: Annotated[Ablation, Default("corrupted")]
    order: Annotated[HeadOrder, Default("reverse-heads")]
    difference: Annotated[Difference, Default("signed")]

    def edges_tested(self, n_edges: int) -> int:
        return n_edges


class AcdcMethod(SearchMethod):
    """Iterative edge pruning by activation patching (Conmy et al. 2023, Algorithm 1)."""

    VERSION: ClassVar[int] = 1
    COMPUTES_SCORES: ClassVar[bool] = False

    name: Literal["acdc"]


class EapIgAcdcMethod(SearchMethod):
    """ACDC on the edges that score best by integrated gradients (`eap-ig-inputs`, then `acdc`).

    The gradients are of the same metric under the same ablation.

    Args:
        steps: points between the ablated and the clean input at which gradients are taken.
        screen: the share of the graph's edges that ACDC tests, above 0, up to 1: those with the
            highest scores by magnitude.
    """

    VERSION: ClassVar[int] = 1
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT

    name: Literal["eap-ig-acdc"]
    steps: Annotated[int, Field(ge=1), Default(5)]
    screen: Annotated[float, Field(gt=0, le=1), Default(0.2)]

    def edges_tested(self, n_edges: int) -> int:
        return round(n_edges * self.screen)
