"""The metrics of a circuit beside those of the whole and of the ablated model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from acdc_pipeline.evaluation import Scale
from acdc_pipeline.evaluation.intervals import Interval, PromptScale
from acdc_pipeline.evaluation.measure import CircuitScores
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricKey


@dataclass(frozen=True)
class PromptScores:
    """One metric of each prompt, summed over its answers, in the metric's own sign.

    Args:
        circuit, model, ablated: as in `Measured`.
    """

    circuit: tuple[float, ...]
    model: tuple[float, ...]
    ablated: tuple[float, ...]

    def scale(self, seed: int) -> PromptScale:
        """Return the ends of the scale of faithfulness, for intervals."""
        return PromptScale(np.array(self.model), np.array(self.ablated), seed)


@dataclass(frozen=True)
class Measured:
    """One metric of a circuit with its two reference points, in the metric's own sign.

    Args:
        circuit: m(C).
        model: m(G), of the whole model.
        ablated: m(∅), with every edge removed.
        faithfulness: (m(C) - m(∅)) / (m(G) - m(∅)); None for metrics that count answers, and where
            removing every edge changes nothing.
        interval: 95 % bootstrap interval of `faithfulness` over prompts; None without any.
        by_prompt: the metric of each prompt; None if it was not kept.
    """

    circuit: float
    model: float
    ablated: float
    faithfulness: float | None
    interval: Interval | None = None
    by_prompt: PromptScores | None = None


def measured_metrics(
    circuit: CircuitScores,
    model: CircuitScores,
    ablated: CircuitScores,
    names: Iterable[MetricKey],
    seed: int,
) -> dict[MetricKey, Measured]:
    """Return those of `names` that were measured, with the faithfulness of the circuit in each.

    Args:
        circuit, model, ablated: the same metrics of the circuit, the model and no edges.
        seed: of the resamples of the intervals.
    """
    out: dict[MetricKey, Measured] = {}
    for name in (name for name in names if name in circuit.mean):
        value, whole, nothing = (each.mean[name] for each in (circuit, model, ablated))
        scores = (each.by_prompt[name].tolist() for each in (circuit, model, ablated))
        by_prompt = PromptScores(*map(tuple, scores))
        faithfulness, interval = None, None
        if name not in COUNTING_METRICS and whole != nothing:
            faithfulness = Scale(name, whole, nothing).faithfulness(value)
            interval = by_prompt.scale(seed).faithfulness(circuit.by_prompt[name])
        out[name] = Measured(value, whole, nothing, faithfulness, interval, by_prompt)
    return out
