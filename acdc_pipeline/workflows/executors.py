"""Execute planned runs: the settings, the executor they call for, and the outcomes."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from acdc_pipeline.errors import StoreError, UnknownName, check_whole
from acdc_pipeline.workflows.shards import check_shards, spread

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Executor
    from acdc_pipeline.execution.progress import SweepListener
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.specs import WorkerProfile
    from acdc_pipeline.store import Store

DEFAULT_PROFILE = "laptop"
"""The worker profile where none is named."""

MAX_THREADS = 512
"""With thousands of threads torch does not start, or ends in C++."""


@dataclass(frozen=True)
class ExecutionSettings:
    """A worker profile with the settings that override it.

    Args:
        profile: the profile, with the executor that was chosen.
        device: a torch device or `auto`; None for the profile's.
        memory: byte budget of a search; None for half of the free memory.
        threads: torch threads of this process; None for the profile's CPUs.
        lease: seconds without a sign of this process after which other drivers of the store may
            take its runs; None for the default.
    """

    name: str
    profile: WorkerProfile
    device: str | None
    memory: int | None
    threads: int | None
    lease: float | None = None


def execution_settings(
    profile: str = DEFAULT_PROFILE,
    *,
    executor: str | None = None,
    device: str | None = None,
    memory: int | None = None,
    threads: int | None = None,
    shards: int | None = None,
    lease: float | None = None,
) -> ExecutionSettings:
    """Find the worker profile `profile` and override what is not None.

    Raises:
        UnknownName: there is no such profile.
        InvalidInput: there is no such executor or device, the profile is not valid, or an amount
            is too small or too large.
    """
    from acdc_pipeline.specs import find_profile
    from acdc_pipeline.specs.names import check_device

    check_resources(memory, threads)
    check_shards(shards)
    if device is not None:
        check_device(device)
    if executor is not None:
        check_executor(executor, "executor")
    found = find_profile(profile)
    if executor is not None:
        found = found.model_copy(update={"executor": executor})
    if shards is not None:
        found = found.model_copy(update={"shards": shards})
    memory = found.memory if memory is None else memory
    return ExecutionSettings(profile, found, device, memory, threads, lease)


def check_resources(memory: int | None, threads: int | None) -> None:
    """Raise InvalidInput if a byte budget or a number of torch threads is not valid."""
    if memory is not None:
        check_whole(memory, "memory", 1)
    if threads is not None:
        check_whole(threads, "threads", 1, MAX_THREADS)


def check_executor(name: str, field: str) -> str:
    """Return `name` if it names an executor. Raises UnknownName about `field`."""
    from acdc_pipeline.specs.names import Executor

    if name not in get_args(Executor):
        raise UnknownName.among("executor", name, get_args(Executor), field=field)
    return name


def make_executor(settings: ExecutionSettings) -> Executor:
    """Make the executor of `settings`. Imports Ray only where the profile uses it."""
    from acdc_pipeline.store.claims import LEASE

    profile, lease = settings.profile, LEASE if settings.lease is None else settings.lease
    if profile.executor == "ray":
        from acdc_pipeline.execution.ray import RayExecutor

        return RayExecutor(
            profile,
            device="auto" if settings.device is None else settings.device,
            memory=settings.memory,
            lease=lease,
        )
    import torch

    from acdc_pipeline.execution.executor import LocalExecutor
    from acdc_pipeline.execution.worker import Worker

    # no more than torch would use by itself on this computer
    cpus = min(torch.get_num_threads(), math.ceil(profile.cpus_each))
    torch.set_num_threads(cpus if settings.threads is None else settings.threads)
    device = settings.device
    if device is None:
        device = "auto" if profile.gpus > 0 else "cpu"
    memory = settings.memory

    def make() -> Worker:
        return Worker(device=device, memory=memory)

    def report(message: str) -> None:
        local.report(message)

    sharded = spread(
        make,
        profile.shards,
        device=device,
        memory=memory,
        threads=settings.threads,
        report=report,
    )
    local = LocalExecutor(sharded, profile.checkpoint, lease)
    return local


def leaves_gpu_idle(settings: ExecutionSettings) -> bool:
    """Whether this process would compute on the CPU only because the profile has no GPU."""
    if settings.profile.executor == "ray" or settings.profile.gpus > 0:
        return False
    if settings.device is not None:
        return False
    import torch

    return torch.cuda.is_available()


def execute_runs(
    runs: Sequence[PlannedRun], store: Store, executor: Executor, listener: SweepListener
) -> Generator[Outcome, None, None]:
    """Execute `runs` and yield the outcomes as they come.

    Closing the iterator ends the work; committed runs stay in the store.

    Raises:
        StoreFailed: the store cannot be used any more.
        StoreError: the store cannot be written.
    """
    from acdc_pipeline.store.errors import as_store_failure

    outcomes = executor.execute(runs, store, listener)
    try:
        yield from outcomes
    except StoreError as error:
        failure = as_store_failure(error)
        if failure is error:
            raise
        raise failure from error
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()
