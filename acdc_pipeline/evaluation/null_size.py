"""How many random circuits of equal size are cheap to measure."""

from __future__ import annotations

from acdc_pipeline.engine import Bench

MOST_RANDOM_CIRCUITS = 50
"""The maximum of `cheap_null`. A circuit that is more faithful than all 50 has an estimated
percentile of 98 % (Laplace: 51/52) with a standard deviation of 2 %."""
LEAST_RANDOM_CIRCUITS = 10
"""The minimum of `cheap_null`."""

NULL_OPERATIONS = 2e12
"""Multiplications and additions of a cheap null: about ten seconds on two CPU cores."""


def cheap_null(bench: Bench) -> int:
    """Return how many random circuits are cheap: 50 in small models, never fewer than 10.

    The count depends on operations and not on time, so that a circuit has the same null everywhere.
    """
    affordable = int(NULL_OPERATIONS / circuit_operations(bench))
    return max(LEAST_RANDOM_CIRCUITS, min(MOST_RANDOM_CIRCUITS, affordable))


def circuit_operations(bench: Bench) -> float:
    """Return the operations of one circuit: a forward pass in which every head has its own inputs.

    Sums over sources count once per edge.
    """
    weights = bench.weights
    batch, pos = bench.prompts.clean.shape
    tokens, topology = batch * pos, weights.topology
    d_model, vocab = weights.w_u.shape
    total = 2.0 * len(bench.logprobs) * d_model * vocab
    total += 2.0 * tokens * d_model * topology.n_edges
    for block in weights.shapes:
        if block.attn is not None:
            head, _, d_head = block.attn.w_q.shape
            total += 2.0 * tokens * head * d_head * (4 * d_model + 2 * pos)
        for part in (block.mixer, block.mlp):
            total += 0.0 if part is None else 2.0 * tokens * part.n_weights
    return total
