"""Metrics of a sweep for Prometheus, through Ray, which prefixes their names with `ray_`.

The driver counts, since every run passes through it: no count is lost with a worker.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.util.metrics import Counter, Gauge

from acdc_pipeline.execution.runs import State


class SweepMetrics:
    """The metrics of one driver."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since, self._tested = clock(), 0
        self._done = Counter(
            "acdc_runs_done", "Runs that are in the store, committed or found there.", ("state",)
        )
        self._failed = Counter("acdc_runs_failed", "Runs that failed for good.")
        self._queued = Gauge("acdc_runs_queued", "Runs that no worker has taken yet.")
        self._edges = Counter("acdc_edges_tested", "Edges tested by all workers.")
        self._rate = Gauge("acdc_edges_tested_per_second", "By all workers, lately.")
        self.model_loads = Counter("acdc_model_loads", "Models loaded by all workers.")
        self.lost_workers = Counter(
            "acdc_workers_lost", "Workers that died or left with their node."
        )

    def count_outcome(self, state: State) -> None:
        if state == "failed":
            self._failed.inc()
        else:
            self._done.inc(tags={"state": state})

    def count_edges(self, edges: int) -> None:
        self._tested += edges
        if edges > 0:
            self._edges.inc(edges)

    def publish(self, queued: int) -> None:
        """Publish the number of queued runs, and the rate since the last call."""
        now = self._clock()
        self._queued.set(queued)
        if now > self._since:
            self._rate.set(self._tested / (now - self._since))
        self._since, self._tested = now, 0
