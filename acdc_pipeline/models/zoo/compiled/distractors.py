"""Heads and hidden units that compute something nobody reads: what a circuit finder must drop.

They read the whole residual stream, each other included, so their edges carry real differences
between clean and corrupted prompts; they write only into the scratch subspace, which nothing on
the way to the logits reads. No edge from or into a distractor belongs to any circuit.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, Builder
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH

# Such fractions stay exact in half precision, and small enough that softmaxes stay soft.
_VALUES = tuple(i / 32 for i in range(-8, 9))


def add_distractor_heads(builder: Builder, layer: int, used: Iterable[int], seed: str) -> None:
    """Every head of `layer` that is not `used` becomes a distractor."""
    residual = builder.shape.residual
    for head in sorted(set(range(builder.shape.n_heads)) - set(used)):
        add_reading_head(builder, layer, head, seed)
        rng = random.Random(f"{seed} a{layer}.h{head} writes")
        builder.write(layer, head, SCRATCH, _random(rng, D_HEAD, residual.widths[SCRATCH]))


def add_reading_head(builder: Builder, layer: int, head: int, seed: str) -> None:
    """The head reads everything, at random, and writes nothing."""
    rng = random.Random(f"{seed} a{layer}.h{head}")
    for subspace, width in builder.shape.residual.widths.items():
        for slot in SLOTS:
            builder.read(layer, head, slot, subspace, _random(rng, width, D_HEAD))


def add_distractor_units(builder: Builder, layer: int, first: int, seed: str) -> None:
    """Every hidden unit of the MLP of `layer` from `first` on becomes a distractor."""
    widths = builder.shape.residual.widths
    for index in range(first, builder.shape.d_mlp):
        rng = random.Random(f"{seed} m{layer}.{index}")
        builder.unit(
            layer,
            index,
            reads={name: _random(rng, 1, width)[0] for name, width in widths.items()},
            bias=0.0,
            writes={SCRATCH: _random(rng, 1, widths[SCRATCH])[0]},
        )


def _random(rng: random.Random, rows: int, columns: int) -> Float[Tensor, "_ _"]:
    entries = [[rng.choice(_VALUES) for _ in range(columns)] for _ in range(rows)]
    return torch.tensor(entries, dtype=torch.float64)
