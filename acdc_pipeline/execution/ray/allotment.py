"""What a worker process may use of its machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acdc_pipeline.execution.executor import RunsOne


@dataclass(frozen=True)
class Allotment:
    """What a worker process may use of its machine.

    Args:
        device: where it computes: cpu, cuda[:i] or mps.
        memory: byte budget of a search; None if the profile gives none.
        threads: how many it computes with.
        share: part of the device that is its own, above 0 and at most 1.
    """

    device: str
    memory: int | None
    threads: int
    share: float


WorkerFactory = Callable[[Allotment], RunsOne]
"""Makes what executes runs, in the worker process. It travels by name: a function of a module."""


def make_worker(allotment: Allotment) -> RunsOne:
    """The worker of real runs.

    Several workers of a machine start with the same free memory before them: where the profile
    gives no budget, each takes its share of what one alone would take.
    """
    import torch

    from acdc_pipeline.execution.memory import default_budget
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.models import resolve_device

    torch.set_num_threads(allotment.threads)
    memory = allotment.memory
    if memory is None:
        memory = int(default_budget(resolve_device(allotment.device)) * allotment.share)
    return Worker(device=allotment.device, memory=memory)
