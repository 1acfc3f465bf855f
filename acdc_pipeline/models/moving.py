"""Move nested tensors and modules to another floating-point type or device."""

from __future__ import annotations

import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from acdc_pipeline.models.device import Precision

MATRICES = frozenset(
    ("w_e", "w_q", "w_k", "w_v", "w_o", "w_in", "w_gate", "w_out", "w_u", "down", "direct")
)
"""The fields that hold matrices."""


def move(item: Any, precision: Precision, device: torch.device, name: str = "") -> Any:
    """Return `item` with every tensor and module in it in that type and on that device.

    Args:
        name: of the field that holds it; matrices are held in the narrow type.
    """
    if isinstance(item, Tensor):
        wide = item.detach().to(dtype=precision.computed)
        held = wide.to(dtype=precision.held) if name in MATRICES else wide
        exact = held.dtype is wide.dtype or torch.equal(held.to(wide.dtype), wide)
        return (held if exact else wide).to(device=device).contiguous()
    if isinstance(item, nn.Module):
        return _move_module(item, precision, device)
    if isinstance(item, tuple):
        return tuple(move(part, precision, device) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        moved = {
            f.name: move(getattr(item, f.name), precision, device, f.name) for f in fields(item)
        }
        return replace(item, **moved)
    return item


def _move_module(module: nn.Module, precision: Precision, device: torch.device) -> nn.Module:
    """Return `module` itself if it is in that type and on that device, else a copy that is."""
    memo: dict[int, Any] = {}
    changed = False
    for parameter in module.parameters():
        moved = parameter.detach().to(device, precision.computed)
        changed |= moved.dtype is not parameter.dtype or moved.device != parameter.device
        memo[id(parameter)] = nn.Parameter(moved, requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to(device).clone()
    return copy.deepcopy(module, memo) if changed else module
