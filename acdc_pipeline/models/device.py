"""Devices and floating-point types by name."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from acdc_pipeline.errors import InvalidInput, unknown
from acdc_pipeline.specs.names import check_device, device_indices


@dataclass(frozen=True)
class Precision:
    """Floating-point types of a model.

    Args:
        held: type of the matrices in memory; every parameter is rounded to it.
        computed: type of all arithmetic; never 16 bits, which cannot resolve the differences that
            decisions compare.
    """

    held: torch.dtype
    computed: torch.dtype


DTYPES: dict[str, Precision] = {
    "float32": Precision(torch.float32, torch.float32),
    "float64": Precision(torch.float64, torch.float64),
    "bfloat16": Precision(torch.bfloat16, torch.float32),
    "float16": Precision(torch.float16, torch.float32),
}


def resolve_dtype(name: str) -> Precision:
    """Return the precision of that name. Raises InvalidInput for an unknown one."""
    if name not in DTYPES:
        raise InvalidInput(unknown("dtype", name, DTYPES), allowed=", ".join(DTYPES))
    return DTYPES[name]


def resolve_device(name: str) -> torch.device:
    """Return the device of that name: auto, cpu, cuda, cuda:1, mps. `auto` prefers CUDA.

    Raises:
        InvalidInput: an unknown name, a device that is not available, or a name of several.
    """
    device, *others = resolve_devices(name)
    if others:
        raise InvalidInput(
            f"device '{name}' names {1 + len(others)} devices, and one is needed here",
            fix=f"use {device}",
        )
    return device


def resolve_devices(name: str) -> tuple[torch.device, ...]:
    """Return the devices of that name; several for cuda:0-3 or cuda:0,2, in that order.

    Raises:
        InvalidInput: an unknown name, or a device that is not available.
    """
    check_device(name)
    if name == "auto":
        return (torch.device("cuda" if torch.cuda.is_available() else "cpu"),)
    if name == "cpu":
        return (torch.device("cpu"),)
    if name == "mps":
        if torch.backends.mps.is_available():
            return (torch.device("mps"),)
        raise InvalidInput("this machine has no mps device", fix="use device cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    indices = device_indices(name)
    if any(index >= count for index in indices or (0,)):
        raise InvalidInput(
            f"device '{name}' is not on this machine, which has {count} CUDA device(s)",
            fix="use device auto",
        )
    if len(indices) < 2:
        return (torch.device(name),)
    return tuple(torch.device("cuda", index) for index in indices)


def free_memory(device: torch.device) -> int:
    """Return the bytes of memory of a device that are free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
