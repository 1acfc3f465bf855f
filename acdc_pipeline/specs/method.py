"""Discovery methods and their parameters: everything that decides what a method finds.

A new method is one class here or in `scored_method` and its place in `CircuitMethod`, and one class
in `method_request` with the values it usually has, and its place there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from acdc_pipeline.specs.base import Spec, tag_of
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder, MetricName
from acdc_pipeline.specs.profile_method import ProfileMethod
from acdc_pipeline.specs.scored_method import (
    NO_GRADIENT,
    CleanCorruptedMethod,
    EapIgActivationsMethod,
    EapIgInputsMethod,
    EapMethod,
    EdgePruningMethod,
    ExactMethod,
    HispMethod,
    NodeAttributionMethod,
    NodeExactMethod,
    RandomMethod,
    SubnetworkProbingMethod,
    reject_unfit_metric,
)


class AcdcMethod(Spec):
    """Iterative edge pruning by activation patching (Conmy et al. 2023, Algorithm 1).

    Every field decides which edges survive, so none has a default here.

    Args:
        threshold: τ > 0, in units of the metric; an edge goes iff removing it costs less.
        metric: what is measured after each removal.
        ablation: what a removed edge carries.
        order: direction among the heads of one layer.
        difference: whether a change for the better counts as none (`signed`) or by its size.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}"
    UNFIT: ClassVar[Mapping[MetricName, str]] = {}

    name: Literal["acdc"]
    threshold: float = Field(gt=0)
    metric: MetricName
    ablation: Ablation
    order: HeadOrder
    difference: Difference


class EapIgAcdcMethod(Spec):
    """ACDC on the edges that integrated gradients leave (`eap-ig-inputs`, then `acdc`).

    Args:
        threshold, metric, ablation, order, difference: as in `AcdcMethod`; the gradients are of
            the same metric under the same ablation.
        steps: points between the ablated and the clean input at which gradients are taken.
        screen: how much of the graph's edges ACDC tests, above 0, up to 1: the best by magnitude.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["eap-ig-acdc"]
    threshold: float = Field(gt=0)
    metric: MetricName
    ablation: Ablation
    order: HeadOrder
    difference: Difference
    steps: int = Field(ge=1)
    screen: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _metric_fits(self) -> EapIgAcdcMethod:
        reject_unfit_metric(self.metric, self.UNFIT)
        return self


CircuitMethod: TypeAlias = (
    AcdcMethod
    | EapIgAcdcMethod
    | EapMethod
    | EapIgInputsMethod
    | EapIgActivationsMethod
    | CleanCorruptedMethod
    | ExactMethod
    | NodeAttributionMethod
    | NodeExactMethod
    | HispMethod
    | EdgePruningMethod
    | SubnetworkProbingMethod
    | RandomMethod
)
"""Any method that finds a circuit, told apart by `name`."""

Method: TypeAlias = CircuitMethod | ProfileMethod
"""Anything that a run may do, told apart by `name`."""

METHODS: Mapping[str, type[CircuitMethod]] = {
    tag_of(method): method for method in get_args(CircuitMethod)
}
"""Every method that finds a circuit, by name."""

METHOD_VERSIONS: Mapping[str, int] = {tag_of(method): method.VERSION for method in get_args(Method)}
"""Raised whenever a method would decide differently: part of every run id."""


def circuit_method(method: Method) -> CircuitMethod:
    """`method`, of which it is known that it finds a circuit."""
    assert not isinstance(method, ProfileMethod), "a profile finds no circuit"
    return method
