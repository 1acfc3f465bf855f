"""Sketches of W_OV and W_QK: a few numbers from which the cosine of two heads is estimated.

Each number is the inner product of a matrix with a fixed random one, the same for all models of a
width; the correlation of two sketches estimates the cosine of the matrices (Achlioptas 2003,
Database-friendly random projections). It compares models that share a basis of the residual stream:
checkpoints of one training, or a model and its fine-tune.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from acdc_pipeline.heads.folded import find_obstacles, folded_layer
from acdc_pipeline.models.weights import TransformerWeights

SIZE = 128
"""Numbers in a sketch: the standard error of an estimated cosine c is about (1 - c²) / √SIZE."""

TERMS = 8
"""Outer products of random signs that are summed for each number; more come closer to a normal
distribution, which one product of a matrix of rank 1 is far from."""

_LEVELS = 127


def head_sketches(weights: TransformerWeights) -> dict[str, dict[str, str]]:
    """Return the sketches of every head by circuit (`ov`, `qk`) and name of the head.

    A sketch is 8-bit integers in base64, divided by its largest value: cosines do not depend on the
    size of a matrix. A circuit that is zero, or is no product of matrices, has none.
    """
    left, right = (_signs(end, weights.d_model).to(weights.dtype) for end in ("left", "right"))
    left, right = left.to(weights.device), right.to(weights.device)
    found: dict[str, dict[str, str]] = {"ov": {}, "qk": {}}
    for layer in weights.topology.layers_with_heads:
        folded = folded_layer(weights, layer)
        obstacles = find_obstacles(weights.blocks[layer].attention)
        for index in range(weights.topology.n_heads):
            circuits = {
                "ov": (folded.w_v[index], folded.w_o[index].T),
                "qk": (folded.w_q[index], folded.w_k[index]),
            }
            for circuit, (source, target) in circuits.items():
                if circuit in obstacles:
                    continue
                encoded = _encode(_project(left, source, right, target))
                if encoded is not None:
                    found[circuit][f"a{layer}.h{index}"] = encoded
    return found


def heads_per_key(weights: TransformerWeights) -> list[int]:
    """Return how many query heads share a key and value head, by layer; 0 without attention."""
    every = dict(zip(weights.topology.layers_with_heads, weights.attentions, strict=True))
    return [
        every[layer].heads_per_kv if layer in every else 0
        for layer in range(weights.topology.n_layers)
    ]


def weights_plain(weights: TransformerWeights) -> dict[str, Any]:
    """Return the sketches, and where heads share keys how many do, for the profile document."""
    shared = heads_per_key(weights)
    return {
        "sketches": {"size": SIZE, **head_sketches(weights)},
        **({"heads_per_key": shared} if max(shared, default=0) > 1 else {}),
    }


def _signs(end: str, d_model: int) -> Float32[Tensor, "product d_model"]:
    """Return random signs that depend on nothing but their number, on any machine."""
    rows, width = SIZE * TERMS, -(-d_model // 8)
    stream = hashlib.shake_256(f"sketch of a head 1 {end}".encode()).digest(rows * width)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8).reshape(rows, width), axis=1)
    return torch.from_numpy(2 * bits[:, :d_model].astype(np.float32) - 1)


def _project(
    left: Float[Tensor, "product d_model"],
    source: Float[Tensor, "d_model d_head"],
    right: Float[Tensor, "product d_model"],
    target: Float[Tensor, "d_model d_head"],
) -> Float[Tensor, " size"]:
    """Return the inner products of source targetᵀ with sums of outer products of signs."""
    products = ((left @ source) * (right @ target)).sum(-1)
    return products.view(SIZE, TERMS).sum(-1)


def _encode(sketch: Float[Tensor, " size"]) -> str | None:
    values = sketch.detach().cpu().to(torch.float64).numpy()
    largest = np.abs(values).max()
    if not largest > 0 or not np.isfinite(largest):
        return None
    levels = np.rint(_LEVELS * values / largest).astype(np.int8)
    return base64.b64encode(levels.tobytes()).decode("ascii")
