"""The byte budget of a search, where none is given."""

from __future__ import annotations

import psutil
import torch

# What is left is for the model's own copies and for other processes.
SHARE = 0.5


def default_budget(device: torch.device) -> int:
    """Half of the memory that is free on `device` now, in bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * SHARE)
    return int(psutil.virtual_memory().available * SHARE)
