"""Path patching from heads into the queries of movers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node
from acdc_pipeline.heads.answers import AnswerLogit, answer_logit, select_prompts
from acdc_pipeline.heads.batches import chunks, length_groups, rows_at_once, rows_in_cache
from acdc_pipeline.heads.layer_run import Edits, after_mlp, attend, final_at, run_layers
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet


def query_effects(
    weights: TransformerWeights,
    prompts: PromptSet,
    movers: Sequence[Node],
    *,
    memory: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float64[np.ndarray, "sample layer head"]:
    """The answer logit lost when only the movers' queries see a head's counterfactual output.

    Path patching (Wang et al. 2022, arXiv 2211.00593, section 3.2): the edges from the head to
    the queries of all later `movers` carry its output on the counterfactual prompt, and what
    depends on them is recomputed; everything else is as in the clean run. NaN for heads with no
    later mover.

    Args:
        progress: called after each layer of each part of the prompts with the number of layers
            done and their total.
    """
    last = max((node.layer or 0 for node in movers), default=0)
    size = max(1, rows_at_once(weights, prompts.clean.shape[1], memory) // 4)
    parts = []
    with torch.no_grad():
        answers = answer_logit(weights, prompts.correct, prompts.incorrect)
        slices = list(chunks(len(prompts), size))
        for rows in slices:
            part, which = select_prompts(prompts, rows)
            before = len(parts) * last

            def layer_done(layer: int, before: int = before) -> None:
                progress(before + layer + 1, len(slices) * last)

            own = answers.select(which)
            parts.append(_effects(weights, part, own, movers, last, memory, layer_done))
    found = torch.cat(parts, dim=-1).permute(2, 0, 1)
    return found.cpu().to(torch.float64).numpy()


def _effects(
    weights: TransformerWeights,
    prompts: PromptSet,
    answers: AnswerLogit,
    movers: Sequence[Node],
    last: int,
    memory: int,
    layer_done: Callable[[int], None],
) -> Float[Tensor, "layer head answer"]:
    streams: list[Stream] = [embed(weights, prompts.clean)]
    for layer in range(last):
        streams.append(run_layers(weights, streams[layer], first=layer, stop=layer + 1))
    stream = streams[last]
    at = (prompts.answer_row, prompts.answer_pos)
    clean = answers.of(final_at(weights, stream, at, first=last))
    n_layers, n_heads = len(weights.blocks), weights.topology.n_heads
    out = clean.new_full((n_layers, n_heads, len(clean)), torch.nan)
    held = rows_at_once(weights, prompts.clean.shape[1], memory) // 2
    groups = length_groups(weights, prompts, n_heads)
    corrupted = embed(weights, prompts.corrupted)
    final = stream.new_empty(n_heads, len(clean), weights.d_model)
    for layer in range(last):
        if weights.shapes[layer].attn is None:
            corrupted = run_layers(weights, corrupted, first=layer, stop=layer + 1)
            layer_done(layer)
            continue
        run, other = attend(weights, layer, streams[layer]), attend(weights, layer, corrupted)
        corrupted = after_mlp(weights, layer, corrupted, other.attended)
        later = [node for node in movers if node.layer is not None and node.layer > layer]
        first = min(node.layer for node in later if node.layer is not None)
        for group in groups:
            at_once = min(held, rows_in_cache(weights, group.width)) // len(group.rows)
            change = group.select(other.written) - group.select(run.written)
            for heads in chunks(n_heads, at_once):
                states = change[heads]
                edits = Edits(query_shift=dict.fromkeys(later, states.flatten(0, 1)))
                stream = group.select(streams[first]).repeat(len(states), 1, 1)
                places = group.places_in(len(states))
                final[heads, group.answers] = final_at(
                    weights, stream, places, first=first, edits=edits
                )
        out[layer] = clean - answers.of(final)
        layer_done(layer)
    return out
