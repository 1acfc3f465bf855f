"""What is known of a circuit, once it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from acdc_pipeline.evaluation import Knockout, Need, Point, Recovery, Scale, percentile
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.workflows.effort import Part
from acdc_pipeline.workflows.stability import Stability, Transfer

FIELDS: Mapping[Part, tuple[str, ...]] = {
    "curve": ("curve", "cpr", "cmd"),
    "null": ("nulls",),
    "completeness": ("knockouts",),
    "worst knockouts": ("worst",),
    "minimality": ("needs",),
    "causal scrubbing": ("scrubbing", "unscrubbed"),
    "fresh prompts": ("fresh",),
    "stability": ("stability",),
    "transfer": ("transfer",),
}
"""What of an `Evaluation` each part measures."""


@dataclass(frozen=True)
class Measured:
    """One metric of a circuit, beside its two ends, in the metric's own sign.

    Args:
        circuit: m(C).
        model: m(G), of the whole model.
        ablated: m(∅), with every edge removed.
        faithfulness: (m(C) - m(∅)) / (m(G) - m(∅)); None of metrics that count answers, and where
            removing every edge changes nothing.
    """

    circuit: float
    model: float
    ablated: float
    faithfulness: float | None


@dataclass(frozen=True)
class Evaluation:
    """What is known of a circuit. None stands for what was not measured, or could not be.

    Args:
        circuit: what was measured.
        scale: the metric that was searched by, and its ends.
        task_metric: the metric in which the task itself is stated, such as `logit_diff`.
        metrics: everything that was measured of the circuit, by name: the metric of the search,
            `kl` and the task's own metric, both accuracies, and what the task reports.
        curve: faithfulness at ten sizes, smallest fraction first; None where there is nothing to
            cut by.
        cpr, cmd: its areas (MIB).
        nulls: by metric, faithfulness of random circuits of equal size.
        knockouts: completeness.
        worst: the worst knockout that each greedy search found.
        needs: minimality.
        auc: pessimistic area under the ROC curve against the task's reference; None without one.
        scrubbing: causal scrubbing.
        unscrubbed: why it could not be done; None where it was done, or not asked for.
        fresh: faithfulness on prompts of another seed; None too where the task has no others.
        stability: of the search under resampled prompts; None too where there was no search.
        transfer: of the search to templates it did not see; likewise.
    """

    circuit: Circuit
    scale: Scale
    task_metric: MetricName
    metrics: Mapping[MetricName, Measured]
    curve: tuple[Point, ...] | None = None
    cpr: float | None = None
    cmd: float | None = None
    nulls: Mapping[MetricName, tuple[float, ...]] | None = None
    knockouts: tuple[Knockout, ...] | None = None
    worst: tuple[Knockout, ...] | None = None
    needs: tuple[Need, ...] | None = None
    auc: float | None = None
    scrubbing: Recovery | None = None
    unscrubbed: str | None = None
    fresh: float | None = None
    stability: Stability | None = None
    transfer: Transfer | None = None

    @property
    def value(self) -> float:
        """m(C) in the metric that was searched by, in its own sign."""
        return self.metrics[self.scale.metric].circuit

    @property
    def faithfulness(self) -> float:
        """In the metric that was searched by: 1 is the whole model, 0 nothing."""
        return self.scale.faithfulness(self.value)

    @property
    def kl(self) -> float:
        """KL(model ‖ circuit) in nats; lower is better."""
        return self.metrics["kl"].circuit

    @property
    def null(self) -> tuple[float, ...]:
        """Faithfulness of random circuits in the metric that was searched by; empty without."""
        return (self.nulls or {}).get(self.scale.metric, ())

    @property
    def percentile(self) -> float | None:
        """Share of random circuits that are less faithful, in the metric that was searched by."""
        return self.percentile_in(self.scale.metric)

    def percentile_in(self, metric: MetricName) -> float | None:
        """Share of random circuits that are less faithful in `metric`; None without any."""
        null, measured = (self.nulls or {}).get(metric), self.metrics.get(metric)
        if not null or measured is None or measured.faithfulness is None:
            return None
        return percentile(measured.faithfulness, null)

    def __repr__(self) -> str:
        better = (
            ""
            if self.percentile is None
            else f", above {self.percentile:.0%} of {len(self.null)} random circuits"
        )
        return (
            f"<evaluation: faithfulness {self.faithfulness:.3g} ({self.scale.metric}), "
            f"KL {self.kl:.3g}{better}>"
        )
