"""A GPT-2 of transformers with plain hooks: one prompt at a time, without padding.

Nodes are named as in the graph. The output of a head is the part of the attention's result that it
hands to the output projection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def node_names(model: Any) -> list[str]:
    layers, heads = range(model.config.n_layer), range(model.config.n_head)
    of_layer = [[*(f"a{i}.h{h}" for h in heads), f"m{i}"] for i in layers]
    return ["input", *(name for names in of_layer for name in names)]


def logprobs(
    model: Any, ids: Sequence[int], replaced: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Log-probabilities at every position, with the outputs of some nodes replaced."""
    return _run(model, ids, replaced or {})[0]


def outputs(model: Any, ids: Sequence[int]) -> dict[str, Tensor]:
    """The output of every node at every position."""
    return _run(model, ids, {})[1]


def _run(
    model: Any, ids: Sequence[int], replaced: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    seen: dict[str, Tensor] = {}
    width = model.config.n_embd // model.config.n_head

    def whole(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Tensor) -> Tensor | None:
            seen[name] = output[0].clone()
            return replaced[name][None] if name in replaced else None

        return hook

    def heads(layer: int) -> Any:
        def hook(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
            joined = inputs[0].clone()
            for head in range(model.config.n_head):
                name, part = f"a{layer}.h{head}", slice(head * width, (head + 1) * width)
                seen[name] = joined[0, :, part].clone()
                if name in replaced:
                    joined[0, :, part] = replaced[name]
            return (joined,)

        return hook

    base = model.transformer
    handles = [base.drop.register_forward_hook(whole("input"))]
    for layer, block in enumerate(base.h):
        handles.append(block.attn.c_proj.register_forward_pre_hook(heads(layer)))
        handles.append(block.mlp.register_forward_hook(whole(f"m{layer}")))
    try:
        with torch.no_grad():
            logits = model(torch.tensor([list(ids)])).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits.log_softmax(-1), seen
