"""Estimates of what edges are worth that correct weaknesses of EAP: their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.methods.base import NO_GRADIENT, NO_GRADIENT_AT_CLEAN, Default
from acdc_pipeline.specs.methods.scored import EdgeMeanMethod, RankedMethod, Spread
from acdc_pipeline.specs.names import GradDrop, MetricKey


class AtpStarMethod(RankedMethod):
    """AtP*: EAP with exact attention patterns and dropped gradients (Kramár et al. 2024).

    Args:
        grad_drop: whether the magnitudes of estimates are averaged over gradients without one
            layer each (`layers`, as published), or one estimate with its sign is kept (`none`).
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one changes in {metric}, by corrected gradients"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.atp_star:atp_star"

    name: Literal["atp-star"]
    grad_drop: Annotated[GradDrop, Default("layers")]

    @classmethod
    def check_arguments(cls, values: Mapping[str, Any], where: str) -> None:
        # Not where a method is read: runs that were stored with both remain readable.
        drops = values.get("grad_drop", cls.defaults()["grad_drop"]) == "layers"
        if drops and values.get("rank") == "signed":
            raise InvalidInput(
                "'signed' needs scores with signs; those of GradDrop are magnitudes",
                where=where,
                field="rank",
                allowed="magnitude, or signed with a grad_drop of none",
                fix="leave out `rank`, or give `grad_drop` none",
            )

    @property
    def spread(self) -> Spread:
        return "scores"


class ConductanceMethod(EdgeMeanMethod):
    """Conductance of edges on the path of the input (Dhamdhere et al. 2018; Wu et al. 2026).

    Args:
        steps: intervals between the ablated and the clean input; gradients are taken at their ends.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what ablating the input costs in {metric} by way of it"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.conductance:conductance"

    name: Literal["conductance"]
    steps: Annotated[int, Field(ge=1), Default(5)]
