"""What a sweep shows to Prometheus, through Ray's metrics. Names appear there with `ray_` before.

The driver counts, for every run passes through it; a worker that dies takes no count with it.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.util.metrics import Counter, Gauge

from acdc_pipeline.execution.executor import State


class SweepMetrics:
    """The metrics of one driver.

    Args:
        clock: seconds, for the rate.
    """

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
        self._loads = Counter("acdc_model_loads", "Models loaded by all workers.")
        self._lost = Counter("acdc_workers_lost", "Workers that died or left with their node.")

    def ended(self, state: State) -> None:
        """A run is over."""
        if state == "failed":
            self._failed.inc()
        else:
            self._done.inc(tags={"state": state})

    def loaded(self) -> None:
        """A worker was given a run of a model that it does not have loaded."""
        self._loads.inc()

    def lost(self) -> None:
        """A worker is gone."""
        self._lost.inc()

    def tested(self, edges: int) -> None:
        """So many more edges were tested."""
        self._tested += edges
        if edges > 0:
            self._edges.inc(edges)

    def update(self, queued: int) -> None:
        """Publishes how many runs wait, and the rate since the last time."""
        now = self._clock()
        self._queued.set(queued)
        if now > self._since:
            self._rate.set(self._tested / (now - self._since))
        self._since, self._tested = now, 0
