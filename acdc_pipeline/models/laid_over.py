"""Lay the layers of a model over several devices of one machine.

Activations are on the first device, and all is computed there. A layer that is held by another
device is copied to the first when it is computed, the next one ahead.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.models.device import Precision, free_memory
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.moving import move
from acdc_pipeline.models.weights import Block, TransformerWeights
from acdc_pipeline.specs.profile import amount_of

USABLE = 0.95
"""The part of a device's free memory that is used."""

_PASSING = 3
"""Layers on their way through the first device: in use, the next, and the one being copied."""


def lay_over(
    weights: TransformerWeights,
    precision: Precision,
    devices: Sequence[torch.device],
    rooms: Sequence[int] | None = None,
    *,
    where: str,
) -> TransformerWeights:
    """Return a model whose layers are held by several devices.

    The other devices are filled first, in their order and from the first layer on: the first
    device has the embedding, the unembedding, the last layers if the others do not hold them, and
    all activations.

    Args:
        weights: on the CPU, in the type of computations.
        devices: two or more; the first computes.
        rooms: bytes for weights on each; None for nearly all that is free.
        where: the place that errors name.

    Raises:
        OutOfMemoryBudget: the devices do not hold the weights.
    """
    if rooms is None:
        rooms = [int(USABLE * free_memory(device)) for device in devices]
    around = replace(weights, blocks=()).to(precision=precision, device=devices[0])
    narrow = precision.held.itemsize / precision.computed.itemsize
    sizes = [int(count_bytes(block) * narrow) for block in weights.blocks]
    passing = _PASSING * max(sizes)
    room = rooms[0] - count_bytes(around) - passing
    homes = assign_layers(sizes, [room, *rooms[1:]])
    if homes is None:
        raise OutOfMemoryBudget(
            f"the layers take {amount_of(sum(sizes))}, {amount_of(passing)} more pass through the "
            f"first device, and {len(devices)} devices have room for {amount_of(sum(rooms))}",
            where=where,
            fix="use more devices, --dtype bfloat16, or the first device alone, for which layers "
            "are read from their files",
        )
    held = [
        move(block, precision, devices[home])
        for block, home in zip(weights.blocks, homes, strict=True)
    ]
    stay = sum(size for size, home in zip(sizes, homes, strict=True) if home == 0)

    def bring(layer: int) -> Block:
        return transfer(held[layer], devices[0])

    return replace(around, blocks=MappedBlocks(bring, sizes, stay))


def assign_layers(sizes: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Return the device of each layer, by its index; None if they do not fit.

    Layers are assigned in their order: to the devices after the first while they have room, then
    to the first.

    Args:
        sizes: bytes of each layer.
        rooms: bytes of each device.
    """
    order = [*range(1, len(rooms)), 0]
    homes: list[int] = []
    left = list(rooms)
    for size in sizes:
        while order and left[order[0]] < size:
            order.pop(0)
        if not order:
            return None
        left[order[0]] -= size
        homes.append(order[0])
    return homes


def transfer(item: Any, device: torch.device) -> Any:
    """Return nested dataclasses and tuples with every tensor and module on that device.

    What is there already is not copied.
    """
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, nn.Module):
        there = all(parameter.device == device for parameter in item.parameters())
        return item if there else copy.deepcopy(item).to(device)
    if isinstance(item, tuple):
        return tuple(transfer(part, device) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        return replace(
            item, **{f.name: transfer(getattr(item, f.name), device) for f in fields(item)}
        )
    return item


def count_bytes(item: Any) -> int:
    """Return the bytes of all tensors and parameters in nested dataclasses and tuples."""
    if isinstance(item, Tensor):
        return item.nbytes
    if isinstance(item, nn.Module):
        return sum(parameter.nbytes for parameter in item.parameters())
    if isinstance(item, tuple):
        return sum(map(count_bytes, item))
    if is_dataclass(item) and not isinstance(item, type):
        return sum(count_bytes(getattr(item, field.name)) for field in fields(item))
    return 0
