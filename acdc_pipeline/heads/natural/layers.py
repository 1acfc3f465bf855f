"""What every head of a layer does on contexts: the model is run layer by layer over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from acdc_pipeline.engine.components import widen
from acdc_pipeline.engine.forward import check_tokens, embed
from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.heads.batches import chunks, rows_at_once, rows_in_cache
from acdc_pipeline.heads.layer_run import LayerRun, after_mlp, through_attention
from acdc_pipeline.heads.natural.contexts import Contexts
from acdc_pipeline.heads.natural.key_kinds import classify_keys, one_hot
from acdc_pipeline.models.weights import TransformerWeights

Report = Callable[[int], None]
"""A listener to progress: gets the number of layers that are done."""


@dataclass(frozen=True)
class LayerText:
    """The heads of one layer at every counted query, in the order of contexts and positions.

    Args:
        activation: the norm of a head's output as a share of that of the residual stream before the
            layer.
        carried: what the head carries, in the coordinates of its output matrix, and scaled by a
            norm that follows attention: its output is `carried @ w_o`.
        attention: for each context, the attention to keys of each kind, summed over queries.
        output: the same for the dot product of what comes from keys of each kind with the whole
            output: it sums to the squared norms of the outputs.
        pattern: all attention, 255 for 1.
        w_o: the output matrices, weights of the norm that follows attention included.
    """

    layer: int
    activation: Float[Tensor, "head place"]
    carried: Float[Tensor, "head place d_v"]
    attention: Float[Tensor, "head context kind"]
    output: Float[Tensor, "head context kind"]
    pattern: UInt8[Tensor, "head context pos pos"]
    w_o: Float[Tensor, "head d_v d_model"]


def run_contexts(
    weights: TransformerWeights,
    contexts: Contexts,
    *,
    memory: int,
    report: Report = lambda done: None,
) -> Iterator[LayerText]:
    """Yield what the heads of each layer do, after one pass over all contexts.

    Memory holds the residual stream of all contexts and one layer.

    Raises:
        OutOfMemoryBudget: `memory` bytes do not hold that.
        PromptError: a token is unknown to the model.
    """
    tokens = contexts.tokens
    check_tokens(weights, tokens)
    _check_memory(weights, contexts, memory)
    size = min(
        rows_at_once(weights, tokens.shape[1], memory), rows_in_cache(weights, tokens.shape[1])
    )
    kinds = classify_keys(tokens)
    counted = contexts.counted
    stream = embed(weights, tokens).clone()
    for layer in range(len(weights.blocks)):
        parts: list[LayerText] = []
        for rows in chunks(len(tokens), size):

            def visit(run: LayerRun, rows: slice = rows, parts: list[LayerText] = parts) -> None:
                parts.append(_measure(run, kinds[rows], counted[rows]))

            attended = through_attention(weights, layer, stream[rows], visit=visit)
            stream[rows] = after_mlp(weights, layer, stream[rows], attended)
        if parts:
            yield _join(parts)
        report(layer + 1)


def _measure(run: LayerRun, kinds: Int8[Tensor, "batch pos pos"], counted: Tensor) -> LayerText:
    w_o = widen(run.block.attention.w_o, run.stream)
    norm = run.block.post_attn
    if norm is not None and norm.weight is not None:
        w_o = w_o * norm.weight
    scale = 1.0 if run.post_scale is None else run.post_scale
    carried = run.carried * scale
    # The dot product of two outputs, in the coordinates of what heads carry.
    reading = carried @ (w_o @ w_o.transpose(-2, -1))[:, None]
    norms = (carried * reading).sum(-1).clamp(min=0).sqrt()
    # The dot product of the output with what it would be if the query saw one key alone.
    gated = reading * scale if run.gate is None else reading * scale * run.gate
    parts = run.pattern * (gated @ run.values.transpose(-2, -1))
    which = one_hot(kinds, run.pattern) * counted.repeat_interleave(kinds.shape[2], 1)[..., None]
    of_stream = torch.linalg.vector_norm(run.stream, dim=-1)
    return LayerText(
        run.layer,
        (norms / of_stream)[:, counted],
        carried[:, counted],
        _sum_by_kind(run.pattern, which),
        _sum_by_kind(parts, which),
        (run.pattern * 255).round_().clamp_(0, 255).to(torch.uint8),
        w_o,
    )


def _sum_by_kind(
    weights: Float[Tensor, "head batch pos pos"], which: Float[Tensor, "batch pair kind"]
) -> Float[Tensor, "head batch kind"]:
    # Patterns have the batch first in memory.
    return (weights.transpose(0, 1).flatten(2) @ which).transpose(0, 1)


def _join(parts: list[LayerText]) -> LayerText:
    """Join the parts of a layer that were measured after one another."""
    if len(parts) == 1:
        return parts[0]
    return LayerText(
        parts[0].layer,
        torch.cat([part.activation for part in parts], dim=1),
        torch.cat([part.carried for part in parts], dim=1),
        torch.cat([part.attention for part in parts], dim=1),
        torch.cat([part.output for part in parts], dim=1),
        torch.cat([part.pattern for part in parts], dim=1),
        parts[0].w_o,
    )


def _check_memory(weights: TransformerWeights, contexts: Contexts, memory: int) -> None:
    rows, pos = contexts.tokens.shape
    shape = weights.topology
    widths = [attn.w_o.shape[1] for attn in weights.attentions]
    each = 3 * shape.n_heads * max(widths, default=0) + 2 * weights.d_model
    # The pattern of a layer in one byte each, and the kinds of keys.
    needed = rows * pos * (weights.dtype.itemsize * each + (2 * shape.n_heads + 1) * pos)
    if needed > memory:
        raise OutOfMemoryBudget(
            f"{rows} contexts of {pos} tokens need {needed} bytes, the budget is {memory}",
            fix="use fewer tokens (--text-tokens), shorter contexts (--text-context), or a larger "
            "memory budget (--memory)",
        )
