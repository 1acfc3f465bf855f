"""Hashes of tensors and tokenizers in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.specs.base import sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    """Return a sha256 over every tensor and value in nested dataclasses, tuples and modules."""
    total = hashlib.sha256()

    def add(name: str, part: Any) -> None:
        if isinstance(part, Tensor):
            total.update(hash_tensors([(name, part)]).encode())
        elif isinstance(part, nn.Module):
            tensors = [*part.named_parameters(name), *part.named_buffers(name)]
            total.update(hash_tensors(tensors).encode())
        elif is_dataclass(part) and not isinstance(part, type):
            for field in fields(part):
                add(f"{name}.{field.name}", getattr(part, field.name))
        elif isinstance(part, tuple | MappedBlocks):
            for index, one in enumerate(part):
                add(f"{name}.{index}", one)
        else:
            total.update(f"{name}={part!r};".encode())

    add("", item)
    return total.hexdigest()


def hash_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a sha256 over all that decides the tokens of a text and which of them are special."""
    added = {i: str(token) for i, token in sorted(tokenizer.added_tokens_decoder.items())}
    parts: dict[str, Any] = {
        "vocabulary": dict(sorted(tokenizer.get_vocab().items())),
        "special": {
            name: getattr(tokenizer, f"{name}_id")
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        },
        "all_special": sorted(tokenizer.all_special_ids),
        "added": added,
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rules = json.loads(backend.to_str())
        # Calls with padding or truncation leave their settings there; tasks set their own.
        parts["rules"] = {k: v for k, v in rules.items() if k not in ("padding", "truncation")}
    else:
        # A tokenizer in Python: its class and arguments stand for its rules.
        parts["class"] = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"
        parts["arguments"] = {k: repr(v) for k, v in sorted(tokenizer.init_kwargs.items())}
    return sha256_of(parts)
