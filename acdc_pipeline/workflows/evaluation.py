"""The evaluation of a circuit: its measurements, and the drawing of its curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from acdc_pipeline.evaluation import CurvePoint, Knockout, PartScore, Recovery, Scale, percentile
from acdc_pipeline.evaluation.intervals import Interval
from acdc_pipeline.graph import Circuit
from acdc_pipeline.plotting.faithfulness_curve import draw_faithfulness_curve
from acdc_pipeline.plotting.scatter import Mark
from acdc_pipeline.plotting.svg import Drawing, check_title
from acdc_pipeline.specs.names import ComparedAblation, MetricKey, MetricName
from acdc_pipeline.text import format_number, format_percent, without_rounding
from acdc_pipeline.workflows.ablations import Ablated
from acdc_pipeline.workflows.measured import Measured
from acdc_pipeline.workflows.stability import Stability, Transfer


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a circuit. None means not measured, or not measurable.

    Args:
        scale: the metric of the search, with its values for the whole and the ablated model.
        task_metric: the metric in which the task itself is stated, such as `logit_diff`.
        metrics: every metric of the circuit: the metric of the search, `kl`, the task's own
            metric, both accuracies, and those that the task reports.
        curve: faithfulness at ten sizes, smallest first; None where smaller circuits are unknown.
        cmd, cpr: areas of the curve (MIB).
        cmd_interval, cpr_interval: their 95 % bootstrap intervals over prompts.
        nulls: by metric, faithfulness of random circuits of equal size.
        ablations: the circuit under other ablations than that of its search.
        not_exchanged: the reason why `resample` and `adversarial` are not among them.
        auc: pessimistic area under the ROC curve against the task's reference circuit.
        scrubbing: causal scrubbing.
        unscrubbed: the reason why scrubbing was not possible.
        fresh: faithfulness on prompts of another seed; None for a fixed list of prompts.
    """

    circuit: Circuit
    scale: Scale
    task_metric: MetricName
    metrics: Mapping[MetricKey, Measured]
    curve: tuple[CurvePoint, ...] | None = None
    cmd: float | None = None
    cpr: float | None = None
    cmd_interval: Interval | None = None
    cpr_interval: Interval | None = None
    nulls: Mapping[MetricKey, tuple[float, ...]] | None = None
    ablations: Mapping[ComparedAblation, Ablated] | None = None
    not_exchanged: str | None = None
    knockouts: tuple[Knockout, ...] | None = None
    worst: tuple[Knockout, ...] | None = None
    needs: tuple[PartScore, ...] | None = None
    auc: float | None = None
    scrubbing: Recovery | None = None
    unscrubbed: str | None = None
    fresh: float | None = None
    stability: Stability | None = None
    transfer: Transfer | None = None

    @property
    def value(self) -> float:
        """m(C) in the metric of the search, in its own sign."""
        return self.metrics[self.scale.metric].circuit

    @property
    def faithfulness(self) -> float:
        """Faithfulness in the metric of the search: 1 for the whole model, 0 for no edges."""
        return self.scale.faithfulness(self.value)

    @property
    def kl(self) -> float:
        """KL(model ‖ circuit) in nats; lower is better."""
        return self.metrics["kl"].circuit

    @property
    def null(self) -> tuple[float, ...]:
        """Faithfulness of random circuits in the metric of the search."""
        return (self.nulls or {}).get(self.scale.metric, ())

    @property
    def percentile(self) -> float | None:
        """Share of random circuits that are less faithful, in the metric of the search."""
        return self.percentile_in(self.scale.metric)

    def percentile_in(self, metric: MetricKey) -> float | None:
        """Share of random circuits that are less faithful in `metric`; None without any."""
        null, measured = (self.nulls or {}).get(metric), self.metrics.get(metric)
        if not null or measured is None or measured.faithfulness is None:
            return None
        return percentile(measured.faithfulness, null)

    def draw(self, title: str = "") -> Drawing:
        """Draw the faithfulness curve, with the circuit and random circuits of its size.

        Raises:
            InvalidInput: `title` is the name of an SVG file.
        """
        check_title(title)

        def mark(share: float, faithfulness: float, name: str) -> Mark:
            return Mark(share, faithfulness, f"{name}: faithfulness {format_number(faithfulness)}")

        share = len(self.circuit) / self.circuit.topology.n_edges
        areas = (
            ""
            if self.cmd is None or self.cpr is None
            else f" CMD {format_number(self.cmd)}, CPR {format_number(self.cpr)}."
        )
        svg = draw_faithfulness_curve(
            [
                # A share that allows no circuit is part of the line but has no dot.
                mark(point.fraction, point.faithfulness, f"{point.edges} edges")
                if point.edges
                else Mark(point.fraction, point.faithfulness, "")
                for point in self.curve or ()
            ],
            mark(share, self.faithfulness, "this circuit"),
            [mark(share, value, "random circuit") for value in self.null],
            title=title or self.circuit.title or "circuit",
            subtitle=f"Faithfulness in {self.scale.metric} against the share of edges.{areas} "
            f"Circle: the circuit, {format_percent(share)}. Grey: random circuits of its size.",
        )
        return Drawing(svg)

    def _repr_svg_(self) -> str:
        return self.draw().svg

    def __repr__(self) -> str:
        rank = self.percentile
        null = "" if rank is None else f", above {rank:.0%} of {len(self.null)} random circuits"
        return (
            f"<evaluation: faithfulness {self.faithfulness:.3g} ({self.scale.metric}), "
            f"KL {without_rounding(self.kl):.3g}{null}>"
        )
