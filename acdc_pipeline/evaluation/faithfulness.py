"""Faithfulness of a circuit, and of random circuits of its size."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from acdc_pipeline.engine import Bench
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation.measure import (
    Advance,
    circuit_logits,
    measure,
    measure_circuits,
    require_answers,
)
from acdc_pipeline.graph import Edge, Topology
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.specs.names import MetricKey

Known = dict[bytes, float]
"""Values of circuits, by the sha256 of their mask over `topology.edges`."""


@dataclass(frozen=True)
class Scale:
    """The ends of the scale on which circuits are measured.

    Args:
        whole: m(G), its value for the whole model.
        nothing: m(∅), its value with every edge removed.
    """

    metric: MetricKey
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
        """|m(G) - m(∅)|: the cost of losing every edge."""
        return abs(self.whole - self.nothing)

    def faithfulness(self, value: float) -> float:
        """Return (m(C) - m(∅)) / (m(G) - m(∅)): 1 for the whole model, 0 for the empty circuit.

        Values outside that range are possible: a circuit without a negative head is above 1. Higher
        is not better above 1; see `circuit_model_distance`. (MIB benchmark, Mueller et al. 2025,
        arXiv 2504.13151, section 3; Hanna et al. 2024, arXiv 2403.17806.)
        """
        return (value - self.nothing) / (self.whole - self.nothing) + 0.0  # 0, never -0


def measure_scale(bench: Bench, metric: MetricKey) -> Scale:
    """Measure the ends of `metric` on the prompts of `bench`.

    Raises:
        PromptError: the metric needs incorrect answers, and a prompt has none.
        InvalidInput: removing every edge changes nothing.
    """
    require_answers(bench, metric)
    whole = measure(bench, bench.logits, [metric])[metric]
    return Scale(metric, whole, measure_value(bench, metric, ()))


def measure_value(bench: Bench, metric: MetricKey, edges: Iterable[Edge]) -> float:
    """Return the mean of `metric` over answers when only `edges` carry clean information."""
    return measure(bench, circuit_logits(bench, edges), [metric])[metric]


def measure_values(
    bench: Bench,
    metric: MetricKey,
    masks: Iterable[Bool[np.ndarray, " edge"]],
    advance: Advance = lambda _: None,
    known: Known | None = None,
) -> list[float]:
    """Return `measure_value` of many circuits, each given as a mask over `topology.edges`.

    Args:
        known: values of circuits in this metric on these prompts, which are not measured again;
            the others are added.
    """
    values = {} if known is None else known
    keys: list[bytes] = []
    new: dict[bytes, None] = {}

    def not_known() -> Iterator[Bool[np.ndarray, " edge"]]:
        for mask in masks:
            keys.append(hashlib.sha256(mask.tobytes()).digest())
            if keys[-1] in values or keys[-1] in new:
                advance(1)
            else:
                new[keys[-1]] = None
                yield mask

    found = measure_circuits(bench, not_known(), [metric], advance)
    values.update(zip(new, (one[metric] for one in found), strict=True))
    return [values[key] for key in keys]


def random_masks(
    topology: Topology, *, edges: int, n: int, seed: int
) -> Iterator[Bool[np.ndarray, " edge"]]:
    """Yield `n` connected circuits of at most `edges` edges, as masks over `topology.edges`.

    Every edge gets a random score, and `graph.cut` keeps the best: each edge kept is on a path from
    `input` to `logits`, as in circuits that a method finds.
    """
    for number in range(n):
        rng = random.Random(f"{seed} {number}")
        scores = np.array([rng.random() for _ in range(topology.n_edges)])
        yield cut_masks(topology, scores, [edges], "signed")[0]


def percentile(value: float, null: Sequence[float]) -> float:
    """Return the share of `null` below `value`, from 0 to 1; equal values count half."""
    below = sum(other < value for other in null)
    return (below + sum(other == value for other in null) / 2) / len(null)
