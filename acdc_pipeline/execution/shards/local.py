"""The worker that spreads its runs over processes of this machine."""

from __future__ import annotations

from collections.abc import Callable

import torch

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.environment import default_budget
from acdc_pipeline.execution.shards.messages import Channel
from acdc_pipeline.execution.shards.process import ProcessChannel
from acdc_pipeline.execution.shards.worker import ShardedWorker
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.models import resolve_device
from acdc_pipeline.specs.names import device_indices

THREADS = 1
"""CPU threads of each process where no number is given. Another number rounds otherwise."""


def local_sharded_worker(
    shards: int,
    *,
    device: str,
    memory: int | None,
    threads: int | None,
    alone: Callable[[], Worker],
    report: Callable[[str], None] = lambda message: None,
) -> ShardedWorker:
    """Make a worker whose runs are spread over processes, which start with the first run.

    Args:
        shards: the largest number of processes.
        device: a device by name; `auto` and `cuda` give each process a GPU of its own.
        memory: byte budget of a search on this machine, or on each GPU; None for half of what is
            free.
        threads: CPU threads of each process; None for one.
        alone: makes the worker for runs that cannot be spread.
        report: receives a message when a process was lost.

    Raises:
        InvalidInput: this machine does not have the device, or has too few GPUs.
    """
    devices = devices_of_shards(device, shards, torch.cuda.device_count())
    budget = default_budget(resolve_device(devices[0])) if memory is None else memory
    start = start_process(shards, device, threads)
    return ShardedWorker(start, shards, budget, alone, report)


def start_process(shards: int, device: str, threads: int | None) -> Callable[[int], Channel]:
    """Return the function that starts the process of a number; see `local_sharded_worker`.

    Raises InvalidInput: this machine has too few GPUs.
    """
    devices = devices_of_shards(device, shards, torch.cuda.device_count())

    def start(number: int) -> Channel:
        return ProcessChannel(devices[number], THREADS if threads is None else threads)

    return start


def devices_of_shards(device: str, shards: int, gpus: int) -> list[str]:
    """Return the device of each shard: `auto` and `cuda` are one GPU each.

    Raises InvalidInput if there are fewer than shards.
    """
    if len(device_indices(device)) > 1:
        raise InvalidInput(
            f"workers that prompts are spread over have one device each, and '{device}' names more",
            field="device",
            fix="use device cuda, or leave out the shards",
        )
    kind = str(resolve_device(device)) if device == "auto" else device
    if kind != "cuda":
        return [kind] * shards
    if gpus < shards:
        raise InvalidInput(
            f"{shards} workers need a GPU each, and this machine has {gpus}",
            field="shards",
            allowed=f"1 to {gpus}" if gpus else None,
            fix="ask for fewer, or compute on the CPU (--device cpu)",
        )
    return [f"cuda:{number}" for number in range(shards)]
