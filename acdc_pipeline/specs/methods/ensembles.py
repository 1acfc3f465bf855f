"""Combinations of methods: gates that start from scores, and means of scores: their parameters.

All are those of Mondorf et al. 2025 (arXiv 2510.06811).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import NO_GRADIENT, NO_GRADIENT_AT_CLEAN, Default
from acdc_pipeline.specs.methods.scored import (
    EapIgActivationsMethod,
    EapIgInputsMethod,
    EapMethod,
    RankedMethod,
    Spread,
    TrainedForOneSize,
)
from acdc_pipeline.specs.names import Combination, MetricKey


class EapIgEdgePruningMethod(TrainedForOneSize):
    """Edge pruning whose gates start from the ranks of `eap-ig-inputs` scores.

    Args:
        points: points at which gradients are taken for those scores.
        steps: of the optimiser; with 0 the gates stay at their start.
        learning_rate: of Adam.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of its trained gate"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.warm_start:eap_ig_edge_pruning"

    name: Literal["eap-ig-edge-pruning"]
    points: Annotated[int, Field(ge=1), Default(5)]
    steps: Annotated[int, Field(ge=0), Default(300)]
    learning_rate: Annotated[float, Field(gt=0), Default(0.01)]

    @property
    def scoring(self) -> EapIgInputsMethod:
        """The method whose scores the gates start from."""
        return EapIgInputsMethod(
            name="eap-ig-inputs",
            metric=self.metric,
            ablation=self.ablation,
            share=self.share,
            edges=self.edges,
            rank="magnitude",
            steps=self.points,
            rounds=1,
        )


class EnsembleMethod(RankedMethod):
    """EAP, EAP-IG-inputs and EAP-IG-activations, combined edge by edge.

    Args:
        points: points at which each of both EAP-IG takes gradients.
        combine: how the scores of an edge are combined, each in units of its method's largest.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "attribution of {metric} by several methods, largest 1 in each"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.ensembles:ensemble"

    name: Literal["ensemble"]
    points: Annotated[int, Field(ge=1), Default(5)]
    combine: Annotated[Combination, Default("mean")]

    @property
    def spread(self) -> Spread:
        return "steps"

    @property
    def parts(self) -> tuple[EapMethod, EapIgInputsMethod, EapIgActivationsMethod]:
        """The methods that are combined."""
        return attributions(self, self.points)


class HybridEnsembleMethod(TrainedForOneSize, RankedMethod):
    """An ensemble of the same three methods and edge pruning that starts from EAP-IG.

    Args:
        points: points at which each of both EAP-IG takes gradients.
        combine: how the scores of an edge are combined, each in units of its method's largest.
        steps: of the optimiser of edge pruning.
        learning_rate: of Adam.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = EnsembleMethod.SCORE
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.ensembles:hybrid_ensemble"

    name: Literal["hybrid-ensemble"]
    points: Annotated[int, Field(ge=1), Default(5)]
    combine: Annotated[Combination, Default("mean")]
    steps: Annotated[int, Field(ge=0), Default(300)]
    learning_rate: Annotated[float, Field(gt=0), Default(0.01)]

    @property
    def parts(self) -> tuple[EapMethod, EapIgInputsMethod, EapIgActivationsMethod]:
        """The methods that are combined, but for edge pruning."""
        return attributions(self, self.points)

    @property
    def pruning(self) -> EapIgEdgePruningMethod:
        """The last of the methods that are combined."""
        return EapIgEdgePruningMethod(
            name="eap-ig-edge-pruning",
            metric=self.metric,
            ablation=self.ablation,
            share=self.share,
            edges=self.edges,
            points=self.points,
            steps=self.steps,
            learning_rate=self.learning_rate,
        )


def attributions(
    method: RankedMethod, points: int
) -> tuple[EapMethod, EapIgInputsMethod, EapIgActivationsMethod]:
    """Return the three methods of attribution, with metric, ablation and size of `method`."""
    shared = {
        name: getattr(method, name) for name in ("metric", "ablation", "share", "edges", "rank")
    }
    return (
        EapMethod(name="eap", **shared),
        EapIgInputsMethod(name="eap-ig-inputs", steps=points, rounds=1, **shared),
        EapIgActivationsMethod(name="eap-ig-activations", steps=points, **shared),
    )
