"""Scores on a task's prompts: direct effects, attention to answers, ablations, self-repair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
    attention_by_order,
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
    elsewhere: Callable[[int, int], Mapping[str, Tensor]] | None = None,
) -> TaskScores:
    """Compute every score of the family in one pass over the prompts.

    Args:
        progress: called after each layer of each part of the prompts with the work done and the
            total, in layers run: a layer counts itself and all that are run again for it.
        elsewhere: returns what `LayerScorer.score` does, where others compute it.

    Raises:
        PromptError: the model cannot process the prompts.
    """
    scorer = LayerScorer(weights, prompts, memory)
    n_layers = len(weights.blocks)
    done, total = 0, len(scorer.parts) * n_layers * (n_layers + 1) // 2
    parts: list[dict[str, list[Tensor]]] = []
    for part in range(len(scorer.parts)):
        found: dict[str, list[Tensor]] = defaultdict(list)
        for layer in range(n_layers):
            if elsewhere is not None:
                scores = elsewhere(part, layer)
            else:
                scores = scorer.score(part, layer)
            for name, values in scores.items():
                found[name].append(values)
            done += n_layers - layer
            progress(done, total)
        parts.append(found)
    together = {
        name: torch.cat([torch.stack(found[name], -1) for found in parts], 1).permute(1, 2, 0)
        for name in parts[0]
    }
    logits = torch.cat([scorer.logits(part) for part in range(len(parts))])
    return _collect(weights.topology, together, scorer.places, logits)


def prompts_together(weights: TransformerWeights, prompts: PromptSet, memory: int) -> list[slice]:
    """Return which prompts `task_scores` runs together."""
    # A quarter for clean and corrupted runs together; ablated states get the rest.
    size = max(1, rows_at_once(weights, prompts.clean.shape[1], memory) // 4)
    return list(chunks(len(prompts), size))


class LayerScorer:
    """Scores layer by layer on some of the prompts after others, as many as memory holds.

    The next layer of the same prompts goes on where the last one ended. A layer has the same scores
    whether those before it were scored or only run.

    Args:
        memory: byte budget.

    Attributes:
        parts: the prompts that are run together.

    Raises:
        PromptError: the model cannot process the prompts.
    """

    def __init__(self, weights: TransformerWeights, prompts: PromptSet, memory: int) -> None:
        check_tokens(weights, prompts.clean)
        check_tokens(weights, prompts.corrupted)
        self.weights, self.prompts, self.memory = weights, prompts, memory
        self.parts = prompts_together(weights, prompts, memory)
        self.places = find_answer_positions(prompts)
        self._logits: dict[int, Float[Tensor, " part"]] = {}
        self._pass: tuple[int, _Pass] | None = None

    @cached_property
    def means(self) -> dict[int, Float[Tensor, "head pos d_model"]]:
        """The mean output of each head over the counterfactuals, by layer."""
        return _mean_outputs(self.weights, self.prompts, self.parts)

    @torch.no_grad()
    def score(self, part: int, layer: int) -> dict[str, Float[Tensor, "head part"]]:
        """Return the scores of the heads of one layer on one part; {} if it has none."""
        if self._pass is None or self._pass[0] != part or self._pass[1].layer > layer:
            self._pass = None
            self._pass = part, self._start(part)
        running = self._pass[1]
        while running.layer < layer:
            running.skip()
        return running.score(self.means, self.memory)

    @torch.no_grad()
    def logits(self, part: int) -> Float[Tensor, " part"]:
        """Return the answer logits of one part."""
        if part not in self._logits:
            self._start(part)
        return self._logits[part]

    def _start(self, part: int) -> _Pass:
        prompts = self.prompts
        answers = answer_logit(self.weights, prompts.correct, prompts.incorrect)
        others = find_other_answers(prompts.correct, prompts.incorrect)
        running = _Pass(self.weights, prompts, self.parts[part], answers, others, self.places)
        self._logits[part] = running.logits
        return running


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


class _Pass:
    """A pass over some prompts, which is before `layer`.

    Args:
        rows: which prompts.
        answers, others: of all prompts, see `find_other_answers`.
        places: positions of answers in all prompts.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        prompts: PromptSet,
        rows: slice,
        answers: AnswerLogit,
        others: Int[Tensor, "draw answer"],
        places: AnswerPositions,
    ) -> None:
        self.weights, self.layer = weights, 0
        part, which = select_prompts(prompts, rows)
        self.at = (part.answer_row, part.answer_pos)
        self.clean, self.corrupted = embed(weights, part.clean), embed(weights, part.corrupted)
        final = final_at(weights, self.clean, self.at)
        directions = answers.direction[others.to(which.device)[:, which]]
        self.answers = answers.select(which)
        self.logits, self.gradient = self.answers.of(final), self.answers.gradient(final)
        self.other_gradients = frozen_gradient(final, weights.norm_final, directions)
        self.divergence = KlObjective(weights, final, unembed(weights, final).log_softmax(-1))
        self.groups = length_groups(weights, part, weights.topology.n_heads)
        self.mentions = {"answer": places.answer[which], "repeat": places.repeat[which]}

    def skip(self) -> None:
        """Run the next layer."""
        if self.weights.shapes[self.layer].attn is None:
            self._run_headless()
        else:
            self._go_on(*self._attend())

    def score(
        self, means: Mapping[int, Float[Tensor, "head pos d_model"]], memory: int
    ) -> dict[str, Float[Tensor, "head part"]]:
        """Run the next layer, and return the scores of its heads."""
        weights, layer, at, gradient = self.weights, self.layer, self.at, self.gradient
        found: dict[str, Tensor] = {}
        if weights.shapes[layer].attn is None:
            self._run_headless()
            return found
        run, other = self._attend()
        direct = run.effects(gradient, at)
        found["direct_effect"] = direct
        for draw, by_other in enumerate(self.other_gradients):
            found[f"other {draw}"] = run.effects(by_other, at)
        for side, pattern in (("", run.pattern), ("counterfactual ", other.pattern)):
            looked = pattern[:, at[0], at[1]]
            for name, place in self.mentions.items():
                found[f"{side}attention_to_{name}"] = (looked * place).sum(-1)
        replacements: dict[Ablation, Tensor] = {
            "zero": torch.zeros_like(run.written[:, :1]),
            "mean": means[layer][:, None],
            "corrupted": other.written,
        }
        for ablation, replacement in replacements.items():
            ablated = _ablate(weights, self.groups, run, replacement, len(self.logits), memory)
            found[f"{ablation}_ablation"] = self.logits - self.answers.of(ablated)
            found[f"{ablation}_ablation_kl"] = self.divergence.per_answer(ablated)
        lost = direct - other.effects(gradient, at)
        found["self_repair"] = lost - found["corrupted_ablation"]
        self._go_on(run, other)
        return found

    def _attend(self) -> tuple[LayerRun, LayerRun]:
        clean = attend(self.weights, self.layer, self.clean)
        return clean, attend(self.weights, self.layer, self.corrupted)

    def _go_on(self, run: LayerRun, other: LayerRun) -> None:
        self.clean = after_mlp(self.weights, self.layer, self.clean, run.attended)
        self.corrupted = after_mlp(self.weights, self.layer, self.corrupted, other.attended)
        self.layer += 1

    def _run_headless(self) -> None:
        self.clean, self.corrupted = (
            run_layers(self.weights, stream, first=self.layer, stop=self.layer + 1)
            for stream in (self.clean, self.corrupted)
        )
        self.layer += 1


def _ablate(
    weights: TransformerWeights,
    groups: Sequence[LengthGroup],
    run: LayerRun,
    replacement: Float[Tensor, "head _ pos d_model"],
    n_answers: int,
    memory: int,
) -> Float[Tensor, "head answer d_model"]:
    """The final streams with each head of a layer replaced, one at a time."""
    replacement = replacement.expand_as(run.written)

    def changes(group: LengthGroup) -> Tensor:
        return group.select(replacement) - group.select(run.written)

    return changed_finals(weights, groups, run, changes, len(run.written), n_answers, memory)


def changed_finals(
    weights: TransformerWeights,
    groups: Sequence[LengthGroup],
    run: LayerRun,
    changes: Callable[[LengthGroup], Float[Tensor, "head _ _ d_model"]],
    n_heads: int,
    n_answers: int,
    memory: int,
) -> Float[Tensor, "head answer d_model"]:
    """The final streams with each change added after a layer's attention, one at a time.

    Args:
        changes: of a group of prompts, `n_heads` changes.
    """
    pos, d_model = run.stream.shape[1:]
    # Half of the memory holds both runs of this layer.
    held = rows_at_once(weights, pos, memory) // 2
    final = run.stream.new_empty(n_heads, n_answers, d_model)
    for group in groups:
        at_once = min(held, rows_in_cache(weights, group.width)) // len(group.rows)
        stream, attended = group.select(run.stream), group.select(run.attended)
        change = changes(group)
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
    weights: TransformerWeights, prompts: PromptSet, parts: Sequence[slice]
) -> dict[int, Float[Tensor, "head pos d_model"]]:
    """The mean output of each head at each position, over the counterfactuals that reach it.

    By layer.
    """
    at = torch.arange(prompts.corrupted.shape[1], device=prompts.corrupted.device)
    real = (at[None] < prompts.lengths[:, None]).to(weights.dtype)
    sums: dict[int, Tensor] = {}
    for rows in parts:

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
    arrays |= attention_by_order(arrays, places)
    shape = arrays["direct_effect"].shape[1:]
    return TaskScores(
        arrays,
        np.stack(draws) if draws else np.empty((0, *shape)),
        counterfactual,
        MeanLogit.of(logits),
    )
