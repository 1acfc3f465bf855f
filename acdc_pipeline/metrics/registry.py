"""Every metric by name, with its sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.metrics.accuracy import top_token_is_correct
from acdc_pipeline.metrics.forced_choice import correct_is_above_incorrect
from acdc_pipeline.metrics.kl import kl_divergence
from acdc_pipeline.metrics.logit_diff import logit_difference
from acdc_pipeline.metrics.match_nll import matched_negative_log_likelihood
from acdc_pipeline.metrics.nll import negative_log_likelihood
from acdc_pipeline.metrics.prob_diff import probability_difference
from acdc_pipeline.specs.names import MetricName


@dataclass(frozen=True)
class Reading:
    """What a metric is computed from.

    Args:
        model: log-probabilities of the whole model at the answers.
        circuit: log-probabilities of the circuits at the answers.
        correct: which tokens count as correct.
        incorrect: which tokens count as incorrect.
    """

    model: Float[Tensor, "answer vocab"]
    circuit: Float[Tensor, "*state answer vocab"]
    correct: Bool[Tensor, "answer vocab"]
    incorrect: Bool[Tensor, "answer vocab"]


@dataclass(frozen=True)
class Metric:
    """A metric: one number per answer, which way is up, and what it needs.

    `depends_on` is `answers` where the logits of correct and incorrect tokens are enough, since the
    normaliser cancels.
    """

    score: Callable[[Reading], Float[Tensor, "*state answer"]]
    higher_is: Literal["better", "worse"]
    reads_incorrect: Literal["yes", "no"]
    depends_on: Literal["answers", "vocabulary"] = "vocabulary"

    @property
    def sign(self) -> float:
        """What to multiply with so that higher is worse."""
        return 1.0 if self.higher_is == "worse" else -1.0


METRICS: Mapping[MetricName, Metric] = {
    "kl": Metric(lambda r: kl_divergence(r.model, r.circuit), "worse", "no"),
    "logit_diff": Metric(
        lambda r: logit_difference(r.circuit, r.correct, r.incorrect), "better", "yes", "answers"
    ),
    "prob_diff": Metric(
        lambda r: probability_difference(r.circuit, r.correct, r.incorrect), "better", "yes"
    ),
    "nll": Metric(lambda r: negative_log_likelihood(r.circuit, r.correct), "worse", "no"),
    "match_nll": Metric(
        lambda r: matched_negative_log_likelihood(r.model, r.circuit, r.correct), "worse", "no"
    ),
    "accuracy": Metric(lambda r: top_token_is_correct(r.circuit, r.correct), "better", "no"),
    "forced_choice": Metric(
        lambda r: correct_is_above_incorrect(r.circuit, r.correct, r.incorrect), "better", "yes"
    ),
}
