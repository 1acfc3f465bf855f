"""The software and hardware of this process: versions for the record, memory for the budget."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

import acdc_pipeline
from acdc_pipeline.models.device import free_memory

# The rest is for the model's own copies and for other processes.
BUDGET_SHARE = 0.5


def environment(device: torch.device, dtype: str) -> dict[str, str]:
    """Return versions, device and dtype, which are recorded beside a result as text.

    They are no part of the identity of a run.
    """
    packages = ("torch", "transformer-lens", "transformers", "numpy")
    is_cuda = device.type == "cuda"
    return {
        "acdc-pipeline": acdc_pipeline.__version__,
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if is_cuda else device.type,
        "threads": str(torch.get_num_threads()),
        "dtype": dtype,
    }


def default_budget(device: torch.device) -> int:
    """Return the byte budget of a search where none is given: at most half of the free memory.

    A power of two, since batches depend on the budget, and roundings on batches: a budget that
    changed with every other process would make no two runs alike.
    """
    return 1 << (max(1, int(free_memory(device) * BUDGET_SHARE)).bit_length() - 1)
