"""Scores on a task's prompts: direct effects, attention to answers, ablations, self-repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import check_tokens, embed, unembed
from acdc_pipeline.engine.objectives import KlObjective
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
    Places,
    after_mlp,
    attend,
    final_after_attention,
    final_at,
    run_tokens,
)
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
        OutOfMemoryBudget: `memory` does not hold a single prompt.
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
        parts: list[_Part] = []
        slices = list(chunks(len(prompts), size))
        n_layers = len(weights.blocks)
        done, total = 0, len(slices) * n_layers * (n_layers + 1) // 2
        for rows in slices:
            part = _Part.of(weights, prompts, rows, answers, others, places)
            for layer in _visit(weights, part, means, memory):
                done += n_layers - layer
                progress(done, total)
            parts.append(part)
    found = {
        name: torch.cat([torch.stack(p.found[name], -1) for p in parts], 1).permute(1, 2, 0)
        for name in parts[0].found
    }
    return _collect(found, places, torch.cat([part.logit for part in parts]))


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


@dataclass(frozen=True)
class _Part:
    """The state of a pass over some prompts; `found` has one entry per layer, [head answer]."""

    prompts: PromptSet
    mentions: AnswerPositions
    answers: AnswerLogit
    gradient: Float[Tensor, "answer d_model"]
    other_gradients: Float[Tensor, "draw answer d_model"]
    logit: Float[Tensor, " answer"]
    divergence: KlObjective
    groups: list[LengthGroup]
    found: dict[str, list[Float[Tensor, "head answer"]]]

    @classmethod
    def of(
        cls,
        weights: TransformerWeights,
        prompts: PromptSet,
        rows: slice,
        answers: AnswerLogit,
        others: Int[Tensor, "draw answer"],
        places: AnswerPositions,
    ) -> _Part:
        part, which = select_prompts(prompts, rows)
        at_answers = (part.answer_row, part.answer_pos)
        final = final_at(weights, embed(weights, part.clean), at_answers)
        own = answers.select(which)
        directions = answers.direction[others.to(which.device)[:, which]]
        return cls(
            prompts=part,
            mentions=AnswerPositions(places.answer[which], places.repeat[which]),
            answers=own,
            gradient=own.gradient(final),
            other_gradients=frozen_gradient(final, weights.norm_final, directions),
            logit=own.of(final),
            divergence=KlObjective(weights, final, unembed(weights, final).log_softmax(-1)),
            groups=length_groups(weights, part, weights.topology.n_heads),
            found={},
        )

    @property
    def places(self) -> Places:
        """Rows and positions at which answers are read."""
        return self.prompts.answer_row, self.prompts.answer_pos

    def keep(self, name: str, values: Float[Tensor, "head answer"]) -> None:
        self.found.setdefault(name, []).append(values)


def _visit(
    weights: TransformerWeights,
    part: _Part,
    means: list[Float[Tensor, "head pos d_model"]],
    memory: int,
) -> Iterator[int]:
    """Measure one layer after the other, and yield its index."""
    clean, corrupted = embed(weights, part.prompts.clean), embed(weights, part.prompts.corrupted)
    for layer in range(len(weights.blocks)):
        run, other = attend(weights, layer, clean), attend(weights, layer, corrupted)
        direct = run.effects(part.gradient, part.places)
        part.keep("direct_effect", direct)
        for draw, gradient in enumerate(part.other_gradients):
            part.keep(f"other {draw}", run.effects(gradient, part.places))
        for side, pattern in (("", run.pattern), ("counterfactual ", other.pattern)):
            looked = pattern[:, part.prompts.answer_row, part.prompts.answer_pos]
            part.keep(f"{side}attention_to_answer", (looked * part.mentions.answer).sum(-1))
            part.keep(f"{side}attention_to_repeat", (looked * part.mentions.repeat).sum(-1))
        replacements: dict[Ablation, Tensor] = {
            "zero": torch.zeros_like(run.written[:, :1]),
            "mean": means[layer][:, None],
            "corrupted": other.written,
        }
        for ablation, replacement in replacements.items():
            logit, divergence = _ablated(weights, part, run, replacement, memory)
            part.keep(f"{ablation}_ablation", part.logit - logit)
            part.keep(f"{ablation}_ablation_kl", divergence)
        lost = direct - other.effects(part.gradient, part.places)
        part.keep("self_repair", lost - part.found["corrupted_ablation"][-1])
        clean = after_mlp(weights, layer, clean, run.attended)
        corrupted = after_mlp(weights, layer, corrupted, other.attended)
        yield layer


def _ablated(
    weights: TransformerWeights,
    part: _Part,
    run: LayerRun,
    replacement: Float[Tensor, "head _ pos d_model"],
    memory: int,
) -> tuple[Float[Tensor, "head answer"], Float[Tensor, "head answer"]]:
    """The answer logit and KL with each head of a layer replaced, one at a time, in batches.

    The unembedding is read once for all heads, not once per batch.
    """
    n_heads, _, pos, d_model = run.written.shape
    # Half of the memory holds both runs of this layer.
    held = rows_at_once(weights, pos, memory) // 2
    replacement = replacement.expand_as(run.written)
    final = run.written.new_empty(n_heads, len(part.logit), d_model)
    for group in part.groups:
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
    return part.answers.of(final), part.divergence.per_answer(final)


def _mean_outputs(
    weights: TransformerWeights, prompts: PromptSet, size: int
) -> list[Float[Tensor, "head pos d_model"]]:
    """The mean output of each head at each position, over the counterfactuals that reach it."""
    at = torch.arange(prompts.corrupted.shape[1], device=prompts.corrupted.device)
    real = (at[None] < prompts.lengths[:, None]).to(weights.dtype)
    sums: dict[int, Tensor] = {}
    for rows in chunks(len(prompts), size):

        def add(run: LayerRun, rows: slice = rows) -> None:
            total = (run.written * real[rows, :, None]).sum(1)
            sums[run.layer] = sums[run.layer] + total if run.layer in sums else total

        run_tokens(weights, prompts.corrupted[rows], visit=add)
    reached = real.sum(0).clamp(min=1)[:, None]
    return [sums[layer] / reached for layer in range(len(weights.blocks))]


def _collect(
    found: dict[str, Tensor], places: AnswerPositions, logits: Float[Tensor, " answer"]
) -> TaskScores:
    """Convert to numpy arrays; attention only over answers that occur in the prompt."""
    arrays = {name: values.cpu().to(torch.float64).numpy() for name, values in found.items()}
    draws = [arrays.pop(name).mean(0) for name in sorted(arrays) if name.startswith("other ")]
    counterfactual = {}
    for name, place in (
        ("attention_to_answer", places.answer),
        ("attention_to_repeat", places.repeat),
    ):
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
