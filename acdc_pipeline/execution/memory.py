"""The byte budget of a search, where none is given."""

from __future__ import annotations

import psutil
import torch

# What is left is for the model's own copies and for other processes.
SHARE = 0.5


def default_budget(device: torch.device) -> int:
    """At most half of the memory that is free on `device` now, in bytes.

    A power of two: how states are batched depends on the budget, and roundings on that. A budget
    that moved with every process beside this one would make no two runs alike.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available
    return 1 << (max(1, int(free * SHARE)).bit_length() - 1)
