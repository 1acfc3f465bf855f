"""The Ray executor: hands runs to worker processes, and decides what is tried again.

Ray neither restarts a worker nor repeats a call. A run whose worker or node died goes to the
front of the queue and is tried again, at most `attempts` times in all; a run that raised an
error would raise it again and fails at once. Workers commit what they find themselves: what
comes back is how it ended.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from ray.exceptions import RayError

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.executor import Outcome, SweepListener
from acdc_pipeline.execution.planned import PlannedRun
from acdc_pipeline.execution.ray import preflight
from acdc_pipeline.execution.ray.actor import Settings
from acdc_pipeline.execution.ray.allotment import WorkerFactory, make_worker
from acdc_pipeline.execution.ray.connect import connected
from acdc_pipeline.execution.ray.crew import Crew
from acdc_pipeline.execution.ray.deaths import says_why
from acdc_pipeline.execution.ray.dispatch import Dispatch
from acdc_pipeline.execution.ray.nodes import may_grow, present_nodes
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import Store
from acdc_pipeline.store.probe import StoreProbe

PATIENCE = 600.0
"""Seconds without any worker after which a sweep gives up: a node may take minutes to start."""


class RayExecutor:
    """Executes runs on actors of a Ray cluster.

    Args:
        profile: how many workers, with what.
        address: a cluster's `host:port`, `auto` or `local`; None is the cluster of the Ray job
            this process belongs to, else a new one on this machine.
        device: `auto` gives a worker the GPU that Ray reserved for it, else the CPU.
        memory: byte budget of a search; None takes the profile's.
        worker_factory: makes what executes runs, in the worker process.
        patience: seconds without any worker after which to give up.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        *,
        address: str | None = None,
        device: str = "auto",
        memory: int | None = None,
        worker_factory: WorkerFactory = make_worker,
        patience: float = PATIENCE,
    ) -> None:
        self.profile = profile
        self.address = address
        self.device = device
        self.memory = memory if memory is not None else profile.memory
        self.worker_factory = worker_factory
        self.patience = patience

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Generator[Outcome, None, None]:
        """See `Executor.execute`.

        Raises:
            ExecutionFailed: no cluster answers, or no worker can be started.
            InvalidInput: the cluster has no room for the profile's workers.
            StoreError: the store cannot be written, or is another one on the workers' nodes.
        """
        preflight.check_device(self.profile, self.device)
        if not runs:
            return
        with connected(self.address, listener.waiting) as where, _failures_of_ray(where):
            if not may_grow():
                preflight.check_profile(self.profile, present_nodes(), where)
            crew = Crew(self.profile, self._settings(store))
            try:
                dispatch = Dispatch(runs, store, listener, crew, self.profile, self.patience)
                yield from dispatch.outcomes()
            finally:
                crew.close()

    def _settings(self, store: Store) -> Settings:
        return Settings(
            probe=StoreProbe(store),
            device=self.device,
            memory=self.memory,
            cpus=self.profile.cpus,
            gpus=self.profile.gpus,
            checkpoint=self.profile.checkpoint,
            factory=self.worker_factory,
        )


@contextmanager
def _failures_of_ray(where: str) -> Iterator[None]:
    """What Ray raises where it is Ray itself that fails, as one clear error."""
    try:
        yield
    except RayError as error:
        raise ExecutionFailed(
            f"Ray failed: {says_why(error)}",
            where=where,
            fix="look at 'ray status', and run the command again: what is committed stays",
        ) from error
