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
    gives no budget, each takes its share of it, rounded down. Roundings in a search depend on the
    budget, and a run goes on from its checkpoint only under the same: a few bytes more or less
    that were free must not matter.
    """
    import torch

    from acdc_pipeline.execution.memory import default_budget
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.models import resolve_device

    torch.set_num_threads(allotment.threads)
    memory = allotment.memory
    if memory is None:
        memory = round_down(default_budget(resolve_device(allotment.device)) * allotment.share)
    return Worker(device=allotment.device, memory=memory)


def round_down(size: float) -> int:
    """The largest of 1, 2, 3, 4, 6, 8, 12, 16, 24, … that is not above `size`; at least 1."""
    power = 1 << max(0, int(size).bit_length() - 1)
    return power + power // 2 if size >= power + power // 2 else power
