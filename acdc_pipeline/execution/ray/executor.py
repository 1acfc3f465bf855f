"""The Ray executor: assigns runs to worker processes and retries those that were lost.

Ray itself restarts no worker and repeats no call. A run whose worker or node died goes to the front
of the queue and is tried again, up to `attempts` times in all; a run that raised an error would
raise it again and fails at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass

from ray.exceptions import RayError

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.out_of_memory import CAUSE
from acdc_pipeline.execution.progress import SweepListener
from acdc_pipeline.execution.ray import cluster
from acdc_pipeline.execution.ray.actor import Settings, WorkerFactory, make_worker
from acdc_pipeline.execution.ray.capacity import choose_workers, possible_nodes, requested_room
from acdc_pipeline.execution.ray.dispatch import Dispatcher, Retry
from acdc_pipeline.execution.ray.failures import describe_failure
from acdc_pipeline.execution.ray.worker_pool import WorkerPool
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.specs import WorkerProfile
from acdc_pipeline.store import Store
from acdc_pipeline.store.claims import LEASE, Claims
from acdc_pipeline.store.probe import StoreProbe
from acdc_pipeline.text import pluralize

WORKER_TIMEOUT = 600.0
"""Seconds without any worker after which a sweep fails: a node may take minutes to start."""


@dataclass(frozen=True)
class RayExecutor:
    """Executes runs on actors of a Ray cluster.

    Args:
        address: `host:port` of a cluster, `auto` or `local`; None is the cluster of the Ray job
            that this process belongs to, else a new one on this machine.
        device: `auto` gives a worker the GPU that Ray reserved for it, else the CPU.
        memory: byte budget of a search; None means that of the profile.
        worker_timeout: seconds without any worker after which to fail.
        lease: seconds without a sign of this driver after which other drivers of the store may take
            its runs.
    """

    profile: WorkerProfile
    _: KW_ONLY
    address: str | None = None
    device: str = "auto"
    memory: int | None = None
    worker_factory: WorkerFactory = make_worker
    worker_timeout: float = WORKER_TIMEOUT
    lease: float = LEASE

    def execute(
        self, runs: Sequence[PlannedRun], store: Store, listener: SweepListener
    ) -> Generator[Outcome, None, None]:
        """Execute runs; see `Executor.execute`.

        Raises:
            ExecutionFailed: no cluster answers, or no worker can be started.
            InvalidInput: the cluster has no room for one worker of the profile.
            StoreError: the store cannot be written, or is another one on the nodes of the workers.
        """
        profile: WorkerProfile | None = self.profile
        if self.memory is not None:
            profile = profile.model_copy(update={"memory": self.memory})
        larger = profile.enlarged
        for each in filter(None, (profile, larger)):
            cluster.check_device(each, self.device)
        if not runs:
            return
        retries: dict[str, list[Retry]] = {}
        with cluster.connect(self.address, listener.waiting) as where, _ray_errors(where):
            if larger is not None and (nodes := possible_nodes()) is not None:
                cluster.check_profile(larger, nodes, f"larger workers on {where}")
            while profile is not None and runs:
                runs = yield from self._execute_on(profile, where, runs, store, listener, retries)
                profile = profile.enlarged
                if profile is not None and runs:
                    listener.waiting(f"{pluralize(len(runs), 'run')} again on larger workers")
                    _add_retries(retries, runs, self.profile, profile)

    def _execute_on(
        self,
        given: WorkerProfile,
        where: str,
        runs: Sequence[PlannedRun],
        store: Store,
        listener: SweepListener,
        retries: dict[str, list[Retry]],
    ) -> Generator[Outcome, None, list[PlannedRun]]:
        """Execute runs on the workers of one profile; returns those that need larger ones."""
        profile = choose_workers(given, where, self.device, listener.waiting)
        if (nodes := possible_nodes()) is not None:
            fitting = cluster.check_profile(profile, nodes, where)
            if fitting < profile.actors:
                listener.waiting(cluster.describe_room(fitting, profile))
        settings = Settings(
            probe=StoreProbe(store),
            device=self.device,
            memory=profile.memory,
            resources=cluster.resources_of(profile),
            checkpoint=profile.checkpoint,
            factory=self.worker_factory,
            shards=profile.shards,
        )
        pool = WorkerPool(profile, settings)
        left = len(runs)
        try:
            with (
                Claims(store.backend, self.lease) as claims,
                requested_room(profile, listener.waiting) as want,
            ):
                want(left)
                dispatcher = Dispatcher(
                    runs, store, claims, listener, pool, profile, self.worker_timeout, retries
                )
                for outcome in dispatcher.outcomes():
                    left -= 1
                    want(left)
                    yield outcome
                return dispatcher.too_large
        finally:
            pool.close()


def _add_retries(
    retries: dict[str, list[Retry]],
    runs: Sequence[PlannedRun],
    profile: WorkerProfile,
    larger: WorkerProfile,
) -> None:
    """Note for the records of `runs` that these workers are larger."""
    assert profile.larger is not None
    retry: Retry = {"cause": CAUSE, "larger": profile.larger.given}
    if larger.memory is not None:
        retry["memory"] = larger.memory
    for planned in runs:
        retries.setdefault(planned.run_id, []).append(retry)


@contextmanager
def _ray_errors(where: str) -> Iterator[None]:
    """Translate errors of Ray itself into ExecutionFailed."""
    try:
        yield
    except RayError as error:
        raise ExecutionFailed(
            f"Ray failed: {describe_failure(error)}",
            where=where,
            fix="look at 'ray status', and run the command again: what is committed stays",
        ) from error
