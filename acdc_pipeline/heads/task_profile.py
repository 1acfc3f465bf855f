"""Everything about a model's heads on the prompts of one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.heads import backup as backups
from acdc_pipeline.heads.answers import MeanLogit, is_ioi_like, rows_of
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.criteria import Null
from acdc_pipeline.heads.layer_run import run_tokens
from acdc_pipeline.heads.model_profile import ModelProfile, Report, copy_values, facts_of
from acdc_pipeline.heads.query_effects import query_effects
from acdc_pipeline.heads.random_weights import random_models
from acdc_pipeline.heads.relations import Relation, relation_values
from acdc_pipeline.heads.roles import Facts, heads_with
from acdc_pipeline.heads.task_scores import TaskScores, task_scores
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.metrics import METRICS, MetricInputs
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.head_scores import metric_key
from acdc_pipeline.specs.names import MetricName

# How far the work is at the end of each part, roughly, in a model of 270 heads; the rest is the
# search for backups.
_ABLATIONS, _ANSWERS, _MOVERS = 0.87, 0.88, 0.98

MOST_ANSWERS = 256
"""Answer tokens whose copying is ranked: the first ones of the prompts."""


@dataclass(frozen=True)
class TaskProfile:
    """What a model's heads do on the prompts of a task.

    Args:
        task: its name.
        values: the scores.
        nulls: what they are compared with.
        answer: the whole model's answer logit.
        ioi_like: whether the task's roles make one name the answer as the other is said twice.
    """

    task: str
    values: tuple[HeadValues, ...]
    nulls: tuple[Null, ...]
    answer: MeanLogit
    ioi_like: bool

    def facts(self, model: ModelProfile) -> Facts:
        """This and the model's profile as roles read them."""
        return facts_of(
            [*model.values, *self.values],
            [*model.nulls, *self.nulls],
            {**model.answer_logits, self.task: self.answer.shared},
            [self.task] if self.ioi_like else [],
        )


def profile_task(
    weights: TransformerWeights,
    task: TaskSpec,
    prompts: PromptSet,
    relation: Relation | None,
    *,
    seed: int,
    memory: int,
    report: Report = lambda what, share: None,
) -> TaskProfile:
    """Scores on the prompts, path patching into the movers' queries, and backups of the movers.

    Args:
        weights: the model.
        task: what the prompts are from.
        prompts: on the model's device.
        relation: what stands in the prompts and its answers, where the task declares it.
        seed: of what is drawn for nulls.
        memory: bytes for activations.
        report: told what is being done.

    Raises:
        PromptError: prompts the model cannot take.
        OutOfMemoryBudget: `memory` does not hold a single prompt.
    """

    def visited(done: int, total: int) -> None:
        report("ablations", _ABLATIONS * done / total)

    report("ablations", 0.0)
    scores = task_scores(weights, prompts, memory=memory, visited=visited)
    values = [HeadValues.of_samples(n, s, task.name) for n, s in scores.samples.items()]
    nulls = _nulls(task.name, scores)
    report("answers", _ABLATIONS)
    answers = _answer_tokens(weights, prompts)
    read = partial(_by_weights, answers=answers, relation=relation, memory=memory, task=task.name)
    values += read(weights)
    random_values = [read(model) for model in random_models(weights, seed)]
    for drawn in zip(*random_values, strict=True):
        every = np.concatenate([value.mean.ravel() for value in drawn])
        nulls += _some(Null.of(drawn[0].key, "random weights", every))
    profile = TaskProfile(task.name, tuple(values), tuple(nulls), scores.answer, is_ioi_like(task))
    report("movers", _ANSWERS)
    return _with_movers(weights, prompts, profile, seed, memory, report)


def _by_weights(
    weights: TransformerWeights,
    answers: torch.Tensor,
    relation: Relation | None,
    memory: int,
    task: str,
) -> list[HeadValues]:
    """What the weights do with the task's own tokens."""
    names = ("answer_copying", "answer_suppression")
    values = copy_values(weights, answers, names, memory, task)
    if relation is not None:
        values.append(relation_values(weights, relation, memory, task))
    return values


def _with_movers(
    weights: TransformerWeights,
    prompts: PromptSet,
    profile: TaskProfile,
    seed: int,
    memory: int,
    report: Report,
) -> TaskProfile:
    """What can be measured only once it is known which heads are movers."""
    task = profile.task
    facts = facts_of(profile.values, profile.nulls, {task: profile.answer.shared})
    movers = heads_with(facts, "mover", task)
    if not movers:
        return profile

    def patched(done: int, total: int) -> None:
        report("movers", _ANSWERS + (_MOVERS - _ANSWERS) * done / total)

    def measured(done: int, total: int) -> None:
        report("backup heads", _MOVERS + (1 - _MOVERS) * done / total)

    effects = query_effects(weights, prompts, movers, memory=memory, visited=patched)
    measure = backups.on_task(weights, prompts, memory)
    result = backups.backup(
        measure, movers, weights.topology, weights.w_e, seed=seed, measured=measured
    )
    gained = HeadValues.of_samples("backup_mover", result.gained, task)
    null = Null.of(gained.key, "other heads", result.others)
    values = (*profile.values, HeadValues.of_samples("query_effect", effects, task), gained)
    return TaskProfile(
        task, values, (*profile.nulls, *_some(null)), profile.answer, profile.ioi_like
    )


def _nulls(task: str, scores: TaskScores) -> list[Null]:
    found = _some(Null.of(metric_key("direct_effect", task), "other answers", scores.other_answers))
    for name, samples in scores.elsewhere.items():
        found += _some(Null.of(metric_key(name, task), "corrupted prompts", samples.mean(0)))
    return found


def _some(null: Null | None) -> list[Null]:
    return [] if null is None else [null]


def _answer_tokens(weights: TransformerWeights, prompts: PromptSet) -> torch.Tensor:
    """The different tokens that are right or wrong somewhere, in the order of the prompts."""
    every: Sequence[tuple[int, ...]] = [*prompts.correct, *prompts.incorrect]
    tokens = list(dict.fromkeys(token for ids in every for token in ids))
    return torch.tensor(tokens[:MOST_ANSWERS], device=weights.device)


def model_metrics(
    weights: TransformerWeights, prompts: PromptSet, names: Sequence[MetricName], memory: int
) -> dict[str, float]:
    """Each metric of the whole model, mean over answers, under `model_` and its name.

    KL to itself is left out, and metrics that compare with incorrect answers where a prompt has
    none.

    Raises:
        OutOfMemoryBudget: `memory` does not hold a single prompt.
    """
    whole = all(prompts.incorrect)
    wanted: list[MetricName] = [
        n for n in names if n != "kl" and (whole or not METRICS[n].needs_incorrect)
    ]
    found: dict[MetricName, list[Tensor]] = {name: [] for name in wanted}
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    with torch.no_grad():
        for rows in chunks(len(prompts), size):
            part, _ = rows_of(prompts, rows)
            final = run_tokens(weights, part.clean)[part.answer_row, part.answer_pos]
            logprobs = unembed(weights, final).log_softmax(-1)
            right, wrong = _mask(logprobs, part.correct), _mask(logprobs, part.incorrect)
            inputs = MetricInputs(logprobs, logprobs, right, wrong)
            for name in wanted:
                found[name].append(METRICS[name].score(inputs).cpu().to(torch.float64))
    return {f"model_{name}": float(torch.cat(parts).mean()) for name, parts in found.items()}


def _mask(
    logprobs: Float[Tensor, "answer vocab"], tokens: Sequence[Sequence[int]]
) -> Bool[Tensor, "answer vocab"]:
    mask = torch.zeros_like(logprobs, dtype=torch.bool)
    for row, ids in enumerate(tokens):
        mask[row, list(ids)] = True
    return mask
