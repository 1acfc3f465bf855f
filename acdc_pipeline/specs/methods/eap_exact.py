"""The method whose circuits are proposed by gradients and decided by exact tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import NO_GRADIENT, Default
from acdc_pipeline.specs.methods.scored import ScoredMethod
from acdc_pipeline.specs.names import MetricKey, Rank


class EapExactMethod(ScoredMethod):
    """Circuits of falling size, proposed by gradients and decided by exact tests.

    Args:
        budget: the most that may be spent, in forwards of the model; a backward counts as two.
            None means 97 % of what `eap-ig-activations` costs with five points.
    """

    VERSION: ClassVar[int] = 5
    SCORE: ClassVar[str] = (
        "circuits of the nest that have it, plus a rank for {metric} among edges in as many"
    )
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap_exact:eap_exact"

    name: Literal["eap-exact"]
    budget: Annotated[float | None, Field(gt=0), Default(None)]

    @property
    def ranking(self) -> Rank:
        return "signed"
