"""Methods that decide one edge after the other, at a threshold: their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_serializer, model_validator

from acdc_pipeline.errors import check_whole
from acdc_pipeline.specs.base import rejection
from acdc_pipeline.specs.methods.base import (
    NO_GRADIENT,
    BaseCircuitMethod,
    Default,
    MethodMetric,
)
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder, MetricKey

MAX_SEARCHES = 1000
"""The largest consensus: its intervals are 6 points wide at most."""

MAJORITY = 0.5
"""The default line: of two sets of edges of which each circuit has one, at most one is above."""


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
    """Iterative edge pruning by activation patching (Conmy et al. 2023, Algorithm 1).

    Args:
        consensus: the number of searches, each in an order and on a bootstrap resample of its own,
            whose agreement is the circuit; 0 for one search alone. Left out of the stored form with
            `consensus_line` where it is 0.
        consensus_line: the circuit has the edges that more than this share of the searches kept.
    """

    VERSION: ClassVar[int] = 1
    COMPUTES_SCORES: ClassVar[bool] = False

    name: Literal["acdc"]
    consensus: Annotated[int, Field(ge=0, le=MAX_SEARCHES), Default(0)] = 0
    consensus_line: Annotated[float, Field(ge=0, lt=1), Default(MAJORITY)] = MAJORITY

    @classmethod
    def check_arguments(cls, values: Mapping[str, Any], where: str) -> None:
        if "consensus" in values:
            check_whole(values["consensus"], "consensus", 2, MAX_SEARCHES, where=where)

    @model_serializer(mode="wrap")
    def _without_default(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        later = () if self.consensus else ("consensus", "consensus_line")
        return {name: value for name, value in write(self).items() if name not in later}

    @model_validator(mode="after")
    def _enough_searches(self) -> Self:
        if self.consensus == 1:
            raise rejection("consensus", "one search agrees with itself", allowed="2 or more")
        if not self.consensus and self.consensus_line != MAJORITY:
            raise rejection("consensus_line", "is of a consensus", fix="give `consensus` as well")
        return self

    @property
    def score_meaning(self) -> str:
        if self.consensus:
            return f"the share of {self.consensus} searches that kept it"
        return super().score_meaning

    def edges_tested(self, n_edges: int) -> int:
        return n_edges * max(1, self.consensus)


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
