"""Runs whose prompts are spread over processes of this machine: their worker, and notes on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from acdc_pipeline.errors import InvalidInput, check_whole

if TYPE_CHECKING:
    from acdc_pipeline.execution.shards.jobs import JobPool
    from acdc_pipeline.execution.shards.worker import ShardedWorker
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.models.memory.held import HeldModel
    from acdc_pipeline.specs import Method, ModelRef, WorkerProfile

MAX_SHARDS = 1_000
"""Workers of one run, as in worker profiles."""


def check_shards(shards: int | None) -> None:
    """Raise InvalidInput if `shards` is not a number of workers."""
    if shards is not None:
        check_whole(shards, "shards", 1, MAX_SHARDS)


def check_method(method: Method, shards: int | None, written: Callable[[str], str] = str) -> None:
    """Raise InvalidInput if runs of `method` are refused over `shards` processes."""
    from acdc_pipeline.specs.methods.scored import EdgeMeanMethod

    if shards is not None and isinstance(method, EdgeMeanMethod) and method.sign_filter:
        raise InvalidInput(
            f"signs are filtered in one process, not over {shards} shards",
            where=f"method '{method.name}'",
            field=written("sign_filter"),
            fix="leave out the shards, or the filter",
        )


def check_pool(
    shards: int | None,
    model: ModelRef | HeldModel | None = None,
    written: Callable[[str], str] = str,
) -> None:
    """Raise InvalidInput if `shards` is not a number of workers, or these do not see the model."""
    check_shards(shards)
    from acdc_pipeline.models.memory.held import HeldModel

    if shards is not None and isinstance(model, HeldModel):
        raise InvalidInput(
            "a model in memory cannot be spread over processes",
            field=written("shards"),
            fix="save it with save_pretrained and give dir:PATH",
        )


def make_pool(
    shards: int | None,
    device: str,
    threads: int | None,
    report: Callable[[str], None] = lambda message: None,
    profile: WorkerProfile | None = None,
) -> JobPool | None:
    """Make the workers that compute independent parts; they start with the first one.

    Args:
        shards: their number; None for none.
        profile: a worker profile, whose executor says whether they are processes of this machine or
            actors of a Ray cluster; None for processes.

    Raises:
        InvalidInput: see `local_sharded_worker` and `actor_pool`.
        ExecutionFailed: no Ray cluster answers.
    """
    if shards is None:
        return None
    if profile is not None and profile.executor == "ray":
        from acdc_pipeline.execution.ray.jobs import actor_pool

        return actor_pool(profile.model_copy(update={"shards": shards}), device, report)
    from acdc_pipeline.execution.shards.jobs import JobPool
    from acdc_pipeline.execution.shards.local import start_process

    return JobPool(start_process(shards, device, threads), shards, report)


def spread(
    make_worker: Callable[[], Worker],
    shards: int | None,
    *,
    device: str = "auto",
    memory: int | None = None,
    threads: int | None = None,
    model: ModelRef | HeldModel | None = None,
    method: Method | None = None,
    written: Callable[[str], str] = str,
    report: Callable[[str], None] = lambda message: None,
) -> Callable[[], Worker | ShardedWorker]:
    """Return `make_worker`, or the function that makes a worker over `shards` processes once.

    Args:
        make_worker: makes the worker in this process, which also executes runs that cannot be
            spread.
        shards: the largest number of processes; None for this process alone.
        device, memory, threads: see `local_sharded_worker`.
        model: the model, where it may be one in memory.
        method: the method, where it is one for all runs.
        written: how errors write the name of a parameter.
        report: receives a message where fewer processes take part, or one was lost.

    Raises:
        InvalidInput: it is not a number of workers, the model is in the memory of this process,
            which others do not see, or see `check_method`.
    """
    check_shards(shards)
    if shards is None:
        return make_worker
    if method is not None:
        check_method(method, shards, written)
    from acdc_pipeline.models.memory.held import HeldModel

    if isinstance(model, HeldModel):
        raise InvalidInput(
            "a model in memory cannot be spread over processes",
            where="discover",
            field=written("shards"),
            fix="save it with save_pretrained and give dir:PATH",
        )

    @cache
    def make() -> ShardedWorker:
        from acdc_pipeline.execution.shards.local import local_sharded_worker

        return local_sharded_worker(
            shards,
            device=device,
            memory=memory,
            threads=threads,
            alone=make_worker,
            report=report,
        )

    return make
