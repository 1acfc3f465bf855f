"""Devices and floating-point types by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from acdc_pipeline.errors import InvalidInput, with_suggestion


@dataclass(frozen=True)
class Precision:
    """How a model's numbers are kept and used.

    Args:
        held: the type of its matrices in memory; every parameter is rounded to it.
        computed: the type of all arithmetic. A decision compares differences far smaller than
            what 16 bits resolve, so it is never one of those.
    """

    held: torch.dtype
    computed: torch.dtype


DTYPES: dict[str, Precision] = {
    "float32": Precision(torch.float32, torch.float32),
    "float64": Precision(torch.float64, torch.float64),
    "bfloat16": Precision(torch.bfloat16, torch.float32),
    "float16": Precision(torch.float16, torch.float32),
}

_CUDA = re.compile(r"cuda(:\d+)?\Z")


def resolve_dtype(name: str) -> Precision:
    """The precision called `name`. Raises InvalidInput for any other."""
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
        raise InvalidInput(
            f"device '{name}' is not known",
            allowed=with_suggestion(
                "auto, cpu, cuda[:index], mps", name, ("auto", "cpu", "cuda", "mps")
            ),
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise InvalidInput(
            f"device '{name}' is not on this machine, which has {count} CUDA device(s)",
            fix="use --device auto",
        )
    return torch.device(name)
