"""Hashes of tensors in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def hash_tensors(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return a sha256 over the name, type, shape and bytes of each tensor, in order of names."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}:".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        if plain.numel():
            total.update(plain.view(torch.uint8).numpy().data)
    return total.hexdigest()


def hash_nested(item: Any) -> str:
    """Return a sha256 over every tensor and value in nested dataclasses and tuples."""
    total = hashlib.sha256()

    def add(name: str, part: Any) -> None:
        if isinstance(part, Tensor):
            total.update(hash_tensors([(name, part)]).encode())
        elif is_dataclass(part) and not isinstance(part, type):
            for field in fields(part):
                add(f"{name}.{field.name}", getattr(part, field.name))
        elif isinstance(part, tuple):
            for index, one in enumerate(part):
                add(f"{name}.{index}", one)
        else:
            total.update(f"{name}={part!r};".encode())

    add("", item)
    return total.hexdigest()
