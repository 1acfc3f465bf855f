"""A small real cluster on this machine, and a listener that remembers and breaks things."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import ray
from ray.cluster_utils import Cluster

from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.specs import WorkerProfile
from tests.support import REPOSITORY

# A lost node is noticed within seconds instead of fifteen, and metrics are there at once.
_IMPATIENT = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
    "metrics_report_interval_ms": 500,
}


@contextmanager
def two_cpu_cluster() -> Iterator[Cluster]:
    """A head node with two CPUs, to which this process is connected as a driver."""
    # Workers import what the tests define.
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "include_dashboard": False,
            "_system_config": _IMPATIENT,
        },
    )
    try:
        connect(cluster)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def connect(cluster: Cluster) -> None:
    """Makes this process a new driver of the cluster."""
    ray.shutdown()
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)


def profile(
    *,
    actors: int = 2,
    cpus: float = 1,
    gpus: float = 0,
    attempts: int = 4,
    shards: int | None = None,
):
    """A worker profile for such a cluster."""
    return WorkerProfile(
        executor="ray",
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        shards=shards,
        dtype="float32",
        memory=2**28,
        attempts=attempts,
        checkpoint=60.0,
    )


@dataclass
class Log:
    """Remembers what it is told; on the way it may do things of its own.

    Args:
        on_started: called with the worker's name after each start of a run, and how many there
            have been.
        on_advanced: called with the worker's name whenever one tells how far it is.
    """

    on_started: Callable[[str, int], None] = lambda worker, count: None
    on_advanced: Callable[[str], None] = lambda worker: None
    waits: list[str] = field(default_factory=list)
    starts: list[tuple[str, str, int]] = field(default_factory=list)
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    losses: list[tuple[str, str | None, str]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def waiting(self, reason: str) -> None:
        self.waits.append(reason)

    def started(self, worker: str, planned: PlannedRun, attempt: int) -> None:
        self.starts.append((worker, planned.run_id, attempt))
        self.on_started(worker, len(self.starts))

    def advanced(self, worker: str, tested: int, kept: int, left: int) -> None:
        self.positions.append((tested, kept, left))
        self.on_advanced(worker)

    def lost(self, worker: str, planned: PlannedRun | None, reason: str) -> None:
        self.losses.append((worker, None if planned is None else planned.run_id, reason))

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def process_of(worker: str) -> int:
    """The process id in a worker's name."""
    return int(worker.rpartition(":")[2])
