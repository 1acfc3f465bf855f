"""How much of what the model does a circuit does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from acdc_pipeline.engine import Bench
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation.measure import (
    circuit_logprobs,
    measure,
    measure_circuits,
    require_answers,
)
from acdc_pipeline.graph import Edge
from acdc_pipeline.specs.names import MetricName


@dataclass(frozen=True)
class Scale:
    """The two ends between which circuits are measured.

    Args:
        metric: what is measured, in its own sign.
        whole: m(G), its value for the whole model.
        nothing: m(∅), its value with every edge removed.
    """

    metric: MetricName
    whole: float
    nothing: float

    def __post_init__(self) -> None:
        if self.whole == self.nothing:
            raise InvalidInput(
                f"removing every edge leaves {self.metric} at {self.whole:.6g}: circuits cannot "
                "be compared by it",
                field="metric",
                fix="choose another metric, or prompts whose sides differ in the answer",
            )

    @property
    def span(self) -> float:
        """How far the ends are apart: what losing everything costs, without sign."""
        return abs(self.whole - self.nothing)

    def faithfulness(self, value: float) -> float:
        """(m(C) - m(∅)) / (m(G) - m(∅)): 1 does what the model does, 0 does as little as nothing.

        It may leave that range on both sides: a circuit without a negative head is above 1.
        Higher is not better above 1; see `areas`. (MIB benchmark, Mueller et al. 2025,
        arXiv 2504.13151, section 3; Hanna et al. 2024, arXiv 2403.17806.)
        """
        return (value - self.nothing) / (self.whole - self.nothing) + 0.0  # 0, never -0


def scale_of(bench: Bench, metric: MetricName) -> Scale:
    """The ends of `metric` on the prompts of `bench`.

    Raises:
        PromptError: the metric compares with incorrect answers, and a prompt has none.
        InvalidInput: removing every edge changes nothing.
    """
    require_answers(bench, metric)
    whole = measure(bench, bench.logprobs, [metric])[metric]
    return Scale(metric, whole, value_of(bench, metric, ()))


def value_of(bench: Bench, metric: MetricName, edges: Iterable[Edge]) -> float:
    """`metric` when only `edges` carry clean information: mean over answers, in its own sign."""
    return measure(bench, circuit_logprobs(bench, edges), [metric])[metric]


def values_of(
    bench: Bench,
    metric: MetricName,
    masks: Iterable[Bool[np.ndarray, " edge"]],
    advance: Callable[[int], None] = lambda _: None,
) -> list[float]:
    """`value_of` for many circuits at once, each given as a mask over the topology's `edges`.

    `advance` is called with the number of circuits measured since the last call.
    """
    return [found[metric] for found in measure_circuits(bench, masks, [metric], advance)]
