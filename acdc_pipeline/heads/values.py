"""A score of all heads of a model, its rows in the table of scores, and rounded numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from acdc_pipeline.graph import Topology
from acdc_pipeline.specs.head_scores import metric_key
from acdc_pipeline.store import HeadScore

RESAMPLES = 1000
INTERVAL = (0.025, 0.975)
"""Bootstrap intervals cover 95 %."""


def four_digits(values: Any) -> Any:
    """Round a number, or an array of numbers to nested lists, to four significant digits."""
    if np.ndim(values):
        return [four_digits(value) for value in values]
    return float(f"{float(values):.4g}")


def on_every_layer(
    topology: Topology, values: Float64[np.ndarray, "*lead some head"]
) -> Float64[np.ndarray, "*lead layer head"]:
    """Values of the layers that have heads, as values of all layers: NaN where there is no head."""
    if values.shape[-2] == topology.n_layers:
        return values
    out = np.full((*values.shape[:-2], topology.n_layers, values.shape[-1]), np.nan)
    out[..., list(topology.layers_with_heads), :] = values
    return out


@dataclass(frozen=True)
class HeadValues:
    """One score of every head.

    Args:
        score: its name in `specs.head_scores`.
        mean: the value of each head; NaN where a head has none.
        samples: the samples that `mean` is the mean of; None if it follows from the weights.
        task: the task on whose prompts it was measured; None for other scores.
    """

    score: str
    mean: Float64[np.ndarray, "layer head"]
    samples: Float64[np.ndarray, "sample layer head"] | None = None
    task: str | None = None
    n: int = 0

    @classmethod
    def of_samples(
        cls,
        score: str,
        samples: Float64[np.ndarray, "sample layer head"],
        task: str | None = None,
    ) -> HeadValues:
        """The score with at least one sample."""
        return cls(score, samples.mean(0), samples, task, len(samples))

    @property
    def key(self) -> str:
        """The name of the metric in `heads.parquet`."""
        return metric_key(self.score, self.task)

    def rows(self, model: str, seed: int) -> list[HeadScore]:
        """A row for every head that has a value."""
        low, high = self.interval(seed)
        layers, heads = self.mean.shape
        return [
            HeadScore(
                model=model,
                layer=layer,
                head=head,
                metric=self.key,
                value=float(self.mean[layer, head]),
                n=self.n,
                seed=seed,
                ci_low=None if low is None else float(low[layer, head]),
                ci_high=None if high is None else float(high[layer, head]),
            )
            for layer in range(layers)
            for head in range(heads)
            if np.isfinite(self.mean[layer, head])
        ]

    def interval(
        self, seed: int
    ) -> tuple[Float64[np.ndarray, "layer head"] | None, Float64[np.ndarray, "layer head"] | None]:
        """The percentile bootstrap interval (Efron 1979) over samples, in float64.

        None for both ends with fewer than two samples.
        """
        if self.samples is None or len(self.samples) < 2:
            return None, None
        n = len(self.samples)
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
        flat = self.samples.reshape(n, -1)
        low, high = np.quantile(drawn @ flat, INTERVAL, axis=0)
        return low.reshape(self.mean.shape), high.reshape(self.mean.shape)
