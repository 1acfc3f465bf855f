"""How much of an answer depends on what a head reads at that answer in the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node
from acdc_pipeline.heads.answers import answer_logit, find_answer_positions, select_prompts
from acdc_pipeline.heads.batches import LengthGroup, length_groups
from acdc_pipeline.heads.layer_run import LayerRun, after_mlp, attend, final_at, run_layers
from acdc_pipeline.heads.task_scores import changed_finals, find_other_answers, prompts_together
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet


@dataclass(frozen=True)
class AnswerReading:
    """The effects of heads, NaN for heads that were not measured.

    Args:
        samples: for each answer that stands in its prompt.
        other_answers: the same effects on the answers of other prompts, mean over answers, one row
            per draw.
    """

    samples: Float64[np.ndarray, "answer layer head"]
    other_answers: Float64[np.ndarray, "draw layer head"]


@torch.no_grad()
def answer_reading(
    weights: TransformerWeights, prompts: PromptSet, heads: Sequence[Node], *, memory: int
) -> AnswerReading:
    """The answer logit lost when a head reads the counterfactual prompt where the answer stands.

    Of what a head writes where an answer is read, the part that it reads at the answer's places in
    the prompt, attention times value, is that of the counterfactual prompt; everything after it is
    recomputed (path patching, Wang et al. 2022, arXiv 2211.00593, from single positions, between
    which Geva et al. 2023, arXiv 2304.14767, cut attention).

    Args:
        heads: at least one.
        memory: byte budget.
    """
    places = find_answer_positions(prompts).answer
    answers = answer_logit(weights, prompts.correct, prompts.incorrect)
    others = find_other_answers(prompts.correct, prompts.incorrect).to(places.device)
    by_layer: dict[int, list[int]] = {}
    for node in heads:
        by_layer.setdefault(node.layer or 0, []).append(node.head or 0)
    n_answers, shape = len(places), (weights.topology.n_layers, weights.topology.n_heads)
    lost = torch.full((1 + len(others), n_answers, *shape), torch.nan, dtype=torch.float64)
    for rows in prompts_together(weights, prompts, memory):
        part, which = select_prompts(prompts, rows)
        at = (part.answer_row, part.answer_pos)
        clean, corrupted = embed(weights, part.clean), embed(weights, part.corrupted)
        final = final_at(weights, clean, at)
        wanted = torch.cat((answers.direction[which][None], answers.direction[others[:, which]]))
        before = _logits(weights, final, wanted)
        groups = length_groups(weights, part, max(map(len, by_layer.values())))
        read = torch.zeros((*part.clean.shape, part.clean.shape[1]), dtype=torch.bool)
        read = read.to(places.device)
        for row, query, keys in zip(*at, places[which], strict=True):
            read[row, query] |= keys
        for layer in range(max(by_layer) + 1):
            if weights.shapes[layer].attn is None:
                clean, corrupted = (
                    run_layers(weights, stream, first=layer, stop=layer + 1)
                    for stream in (clean, corrupted)
                )
                continue
            run, other = attend(weights, layer, clean), attend(weights, layer, corrupted)
            some = by_layer.get(layer, [])
            if some:
                change = (_read_part(other, read) - _read_part(run, read))[some]

                def changes(group: LengthGroup, change: Tensor = change) -> Tensor:
                    return group.select(change)

                ends = changed_finals(weights, groups, run, changes, len(some), len(which), memory)
                for index, end in zip(some, ends, strict=True):
                    found = before - _logits(weights, end, wanted)
                    lost[:, which.cpu(), layer, index] = found.cpu().double()
            clean = after_mlp(weights, layer, clean, run.attended)
            corrupted = after_mlp(weights, layer, corrupted, other.attended)
    arrays = lost[:, places.any(-1).cpu()].numpy()
    return AnswerReading(arrays[0], arrays[1:].mean(1))


def _read_part(
    run: LayerRun, read: Bool[Tensor, "batch query key"]
) -> Float[Tensor, "head batch query d_model"]:
    """The part of each head's output that comes from some keys."""
    carried = (run.pattern * read) @ run.values
    if run.gate is not None:
        carried = carried * run.gate
    return run.into_stream(carried, torch.arange(read.shape[1], device=read.device))


def _logits(
    weights: TransformerWeights,
    final: Float[Tensor, "answer d_model"],
    wanted: Float[Tensor, "draw answer d_model"],
) -> Float[Tensor, "draw answer"]:
    """Answer logits without the biases, which do not change."""
    return (normalise(final, weights.norm_final) * wanted).sum(-1)
