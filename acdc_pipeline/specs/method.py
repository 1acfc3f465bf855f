"""Discovery methods and their parameters.

A new method is one class here, one line in `METHODS` and one in `METHOD_VERSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder, MetricName


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

    name: Literal["acdc"]
    threshold: float = Field(gt=0)
    metric: MetricName
    ablation: Ablation
    order: HeadOrder
    difference: Difference


Method = AcdcMethod
"""Any method; becomes a union discriminated on `name` with the second one."""

METHODS: Mapping[str, type[Method]] = {"acdc": AcdcMethod}

METHOD_VERSIONS: Mapping[str, int] = {"acdc": 1}
"""Raised whenever a method would decide differently: part of every run id."""
