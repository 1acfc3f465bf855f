"""Scores on a task's prompts: direct effects, attention to answers, ablations, self-repair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import check_tokens, embed, unembed
from acdc_pipeline.engine.objectives import KlObjective
from acdc_pipeline.graph import Topology
from acdc_pipeline.heads.answers import (
    AnswerLogit,
    AnswerPositions,
    MeanLogit,
    answer_logit,
    find_answer_positions,
    frozen_gradient,
    select_prompts,
)
from acdc_pipeline.heads.batches import (
    LengthGroup,
    chunks,
    length_groups,
    rows_at_once,
    rows_in_cache,
)
from acdc_pipeline.heads.layer_run import (
    LayerRun,
    after_mlp,
    attend,
    final_after_attention,
    final_at,
    run_layers,
    run_tokens,
)
from acdc_pipeline.heads.values import on_every_layer
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs.names import Ablation

ABLATIONS: tuple[Ablation, ...] = ("zero", "mean", "corrupted")

OTHER_ANSWERS = 8
"""The number of other prompts' answers per prompt, for the null of direct effects."""


@dataclass(frozen=True)
class TaskScores:
    """The scores of all heads on the prompts of a task.

    Args:
        samples: for each score, a value per answer and head, for answers that have one.
        other_answers: direct effects on the answers of other prompts, mean over prompts, one row
            per draw; empty if all prompts share their answers.
        counterfactual: attention scores on the counterfactual prompts, at the same positions.
    """

    samples: Mapping[str, Float64[np.ndarray, "_ layer head"]]
    other_answers: Float64[np.ndarray, "draw layer head"]
    counterfactual: Mapping[str, Float64[np.ndarray, "_ layer head"]]
    answer: MeanLogit


def task_scores(
    weights: TransformerWeights,
    prompts: PromptSet,
    *,
    memory: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TaskScores:
    """Compute every score of the family in one pass over the prompts.

    Args:
        progress: called after each layer of each part of the prompts with the work done and the
            total, in layers run: a layer counts itself and all that are run again for it.

    Raises:
        PromptError: the model cannot process the prompts.
    """
    check_tokens(weights, prompts.clean)
    check_tokens(weights, prompts.corrupted)
    # A quarter for clean and corrupted runs together; ablated states get the rest.
    size = max(1, rows_at_once(weights, prompts.clean.shape[1], memory) // 4)
    places = find_answer_positions(prompts)
    others = find_other_answers(prompts.correct, prompts.incorrect)
    with torch.no_grad():
        means = _mean_outputs(weights, prompts, size)
        answers = answer_logit(weights, prompts.correct, prompts.incorrect)
        slices = list(chunks(len(prompts), size))
        n_layers = len(weights.blocks)
        done, total = 0, len(slices) * n_layers * (n_layers + 1) // 2

        def layer_done(layer: int) -> None:
            nonlocal done
            done += n_layers - layer
            progress(done, total)

        parts = [
            _score_part(weights, prompts, rows, answers, others, places, means, memory, layer_done)
            for rows in slices
        ]
    found = {
        name: torch.cat([torch.stack(scores[name], -1) for scores, _ in parts], 1).permute(1, 2, 0)
        for name in parts[0][0]
    }
    logits = torch.cat([logit for _, logit in parts])
    return _collect(weights.topology, found, places, logits)


def find_other_answers(
    correct: Sequence[Sequence[int]], incorrect: Sequence[Sequence[int]]
) -> Int[Tensor, "draw answer"]:
    """For each answer, the indices of answers of other prompts with other correct tokens.

    The correct tokens of neither are among the tokens of the other; incorrect ones may be shared.
    The next ones in order are taken, cyclically. There is no draw if some answer has no such other.
    """
    n = len(correct)
    right = [set(ids) for ids in correct]
    every = [{*ids, *wrong} for ids, wrong in zip(correct, incorrect, strict=True)]
    chosen = []
    for index in range(n):
        order = ((index + step) % n for step in range(1, n))
        apart = [i for i in order if not right[i] & every[index] and not right[index] & every[i]]
        chosen.append(apart[:OTHER_ANSWERS])
    draws = min((len(found) for found in chosen), default=0)
    return torch.tensor([found[:draws] for found in chosen], dtype=torch.int64).view(n, draws).T


def _score_part(
    weights: TransformerWeights,
    prompts: PromptSet,
    rows: slice,
    answers: AnswerLogit,
    others: Int[Tensor, "draw answer"],
    places: AnswerPositions,
    means: Mapping[int, Float[Tensor, "head pos d_model"]],
    memory: int,
    layer_done: Callable[[int], None],
) -> tuple[dict[str, list[Float[Tensor, "head part"]]], Float[Tensor, " part"]]:
    """The scores on some prompts, layer by layer, and the answer logits."""
    part, which = select_prompts(prompts, rows)
    at = (part.answer_row, part.answer_pos)
    clean, corrupted = embed(weights, part.clean), embed(weights, part.corrupted)
    final = final_at(weights, clean, at)
    directions = answers.direction[others.to(which.device)[:, which]]
    answers = answers.select(which)
    logits, gradient = answers.of(final), answers.gradient(final)
    other_gradients = frozen_gradient(final, weights.norm_final, directions)
    divergence = KlObjective(weights, final, unembed(weights, final).log_softmax(-1))
    groups = length_groups(weights, part, weights.topology.n_heads)
    mentions = {"answer": places.answer[which], "repeat": places.repeat[which]}
    found: dict[str, list[Tensor]] = defaultdict(list)
    for layer in range(len(weights.blocks)):
        if weights.shapes[layer].attn is None:
            clean, corrupted = (
                run_layers(weights, stream, first=layer, stop=layer + 1)
                for stream in (clean, corrupted)
            )
            layer_done(layer)
            continue
        run, other = attend(weights, layer, clean), attend(weights, layer, corrupted)
        direct = run.effects(gradient, at)
        found["direct_effect"].append(direct)
        for draw, by_other in enumerate(other_gradients):
            found[f"other {draw}"].append(run.effects(by_other, at))
        for side, pattern in (("", run.pattern), ("counterfactual ", other.pattern)):
            looked = pattern[:, at[0], at[1]]
            for name, place in mentions.items():
                found[f"{side}attention_to_{name}"].append((looked * place).sum(-1))
        replacements: dict[Ablation, Tensor] = {
            "zero": torch.zeros_like(run.written[:, :1]),
            "mean": means[layer][:, None],
            "corrupted": other.written,
        }
        for ablation, replacement in replacements.items():
            ablated = _ablate(weights, groups, run, replacement, len(logits), memory)
            found[f"{ablation}_ablation"].append(logits - answers.of(ablated))
            found[f"{ablation}_ablation_kl"].append(divergence.per_answer(ablated))
        lost = direct - other.effects(gradient, at)
        found["self_repair"].append(lost - found["corrupted_ablation"][-1])
        clean = after_mlp(weights, layer, clean, run.attended)
        corrupted = after_mlp(weights, layer, corrupted, other.attended)
        layer_done(layer)
    return found, logits


def _ablate(
    weights: TransformerWeights,
    groups: Sequence[LengthGroup],
    run: LayerRun,
    replacement: Float[Tensor, "head _ pos d_model"],
    n_answers: int,
    memory: int,
) -> Float[Tensor, "head answer d_model"]:
    """The final streams with each head of a layer replaced, one at a time, in batches."""
    n_heads, _, pos, d_model = run.written.shape
    # Half of the memory holds both runs of this layer.
    held = rows_at_once(weights, pos, memory) // 2
    replacement = replacement.expand_as(run.written)
    final = run.written.new_empty(n_heads, n_answers, d_model)
    for group in groups:
        at_once = min(held, rows_in_cache(weights, group.width)) // len(group.rows)
        stream, attended = group.select(run.stream), group.select(run.attended)
        change = group.select(replacement) - group.select(run.written)
        for heads in chunks(n_heads, at_once):
            states = change[heads]
            after = (attended + states).flatten(0, 1)
            # Only parallel blocks read it.
            before = stream.repeat(len(states), 1, 1) if weights.parallel else after
            places = group.places_in(len(states))
            final[heads, group.answers] = final_after_attention(
                weights, run.layer, before, after, places
            )
    return final


def _mean_outputs(
    weights: TransformerWeights, prompts: PromptSet, size: int
) -> dict[int, Float[Tensor, "head pos d_model"]]:
    """The mean output of each head at each position, over the counterfactuals that reach it.

    By layer.
    """
    at = torch.arange(prompts.corrupted.shape[1], device=prompts.corrupted.device)
    real = (at[None] < prompts.lengths[:, None]).to(weights.dtype)
    sums: dict[int, Tensor] = {}
    for rows in chunks(len(prompts), size):

        def add(run: LayerRun, rows: slice = rows) -> None:
            total = (run.written * real[rows, :, None]).sum(1)
            sums[run.layer] = sums[run.layer] + total if run.layer in sums else total

        run_tokens(weights, prompts.corrupted[rows], visit=add)
    reached = real.sum(0).clamp(min=1)[:, None]
    return {layer: total / reached for layer, total in sums.items()}


def _collect(
    topology: Topology,
    found: dict[str, Tensor],
    places: AnswerPositions,
    logits: Float[Tensor, " answer"],
) -> TaskScores:
    """Convert to numpy arrays; attention only over answers that occur in the prompt."""
    arrays = {
        name: on_every_layer(topology, values.cpu().to(torch.float64).numpy())
        for name, values in found.items()
    }
    draws = [arrays.pop(name).mean(0) for name in sorted(arrays) if name.startswith("other ")]
    counterfactual = {}
    attention = {"attention_to_answer": places.answer, "attention_to_repeat": places.repeat}
    for name, place in attention.items():
        has = place.any(-1).cpu().numpy()
        here, there = arrays.pop(name)[has], arrays.pop(f"counterfactual {name}")[has]
        if has.any():
            arrays[name], counterfactual[name] = here, there
    shape = arrays["direct_effect"].shape[1:]
    return TaskScores(
        arrays,
        np.stack(draws) if draws else np.empty((0, *shape)),
        counterfactual,
        MeanLogit.of(logits),
    )
