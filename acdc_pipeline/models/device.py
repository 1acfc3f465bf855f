"""Devices and floating-point types by name."""

from __future__ import annotations

import re

import torch

from acdc_pipeline.errors import InvalidInput

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
}

_CUDA = re.compile(r"cuda(:\d+)?\Z")


def resolve_dtype(name: str) -> torch.dtype:
    """The torch type called `name`. Raises InvalidInput for any other."""
    if name not in DTYPES:
        raise InvalidInput(f"dtype '{name}' is not known", allowed=", ".join(DTYPES))
    return DTYPES[name]


def resolve_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda, cuda:1, mps. `auto` takes the best there is.

    Raises:
        InvalidInput: not a device name, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if torch.backends.mps.is_available():
            return torch.device("mps")
        raise InvalidInput("this machine has no mps device", fix="use --device cpu")
    if not _CUDA.match(name):
        raise InvalidInput(f"device '{name}' is not known", allowed="auto, cpu, cuda[:index], mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise InvalidInput(
            f"device '{name}' is not on this machine, which has {count} CUDA device(s)",
            fix="use --device auto",
        )
    return torch.device(name)
