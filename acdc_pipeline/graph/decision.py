"""One line of ACDC's decision log."""

from __future__ import annotations

from dataclasses import dataclass

from acdc_pipeline.graph.edge import Edge


@dataclass(frozen=True, slots=True)
class Decision:
    """One tested edge.

    Args:
        step: position in the log, from 0.
        edge: the edge tested.
        metric_before: metric of the circuit before the test, oriented so that higher is worse.
        metric_after: metric with the edge removed, same orientation.
        removed: whether the edge was removed for good.
    """

    step: int
    edge: Edge
    metric_before: float
    metric_after: float
    removed: bool

    @property
    def effect(self) -> float:
        """`metric_after - metric_before`: what removing the edge costs."""
        return self.metric_after - self.metric_before
