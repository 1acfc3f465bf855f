"""How many random circuits can be measured without waiting."""

from __future__ import annotations

from acdc_pipeline.engine import Bench

MOST = 50
"""More tell little more: a circuit above all of 50 is above 98 % of all, give or take 2 %."""
LEAST = 10
"""Fewer are no null."""

OPERATIONS = 2e12
"""Multiplications and additions in all: about ten seconds on two CPU cores, if nothing is lost."""


def cheap_null(bench: Bench) -> int:
    """`MOST` in small models, fewer in large ones, never below `LEAST`.

    A count of operations decides, and no clock: the same circuit gets the same null everywhere.
    """
    return max(LEAST, min(MOST, int(OPERATIONS / circuit_operations(bench))))


def circuit_operations(bench: Bench) -> float:
    """What one circuit costs: a forward pass in which every head reads inputs of its own.

    Sums over sources count once an edge.
    """
    weights = bench.weights
    batch, pos = bench.prompts.clean.shape
    tokens, topology = batch * pos, weights.topology
    d_model, vocab = weights.w_u.shape
    total = 2.0 * len(bench.logprobs) * d_model * vocab
    total += 2.0 * tokens * d_model * topology.n_edges
    for block in weights.blocks:
        head, _, d_head = block.attn.w_q.shape
        total += 2.0 * tokens * head * d_head * (4 * d_model + 2 * pos)
        if block.mlp is not None:
            total += 2.0 * tokens * block.mlp.n_weights
    return total
