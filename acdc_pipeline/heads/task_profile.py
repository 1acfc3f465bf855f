"""The profile of a model's heads on the prompts of one task, and the whole model's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.answer_reading import AnswerReading, answer_reading
from acdc_pipeline.heads.answers import MeanLogit, is_ioi_like, select_prompts
from acdc_pipeline.heads.backup import MeasureWithout, find_backups, task_measure
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.copying import top_and_bottom_values
from acdc_pipeline.heads.criteria import Null, nulls_of
from acdc_pipeline.heads.habits import READS
from acdc_pipeline.heads.layer_run import run_tokens
from acdc_pipeline.heads.model_profile import ModelProfile, Report, Submit, compute_here
from acdc_pipeline.heads.query_effects import QueriesElsewhere, query_effects
from acdc_pipeline.heads.random_weights import random_model, random_model_count
from acdc_pipeline.heads.relations import Relation, relation_values
from acdc_pipeline.heads.roles import Measurements, heads_with_role
from acdc_pipeline.heads.task_scores import task_scores
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.metrics import METRICS, MetricInputs, token_mask
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.head_scores import metric_key
from acdc_pipeline.specs.names import MetricName

# The completed fraction at the end of each step, roughly, in a model of 270 heads; the rest is the
# search for backups.
_ABLATIONS, _ANSWERS, _MOVERS = 0.87, 0.88, 0.98

MOST_ANSWERS = 256
"""The largest number of answer tokens whose copying is ranked: the first ones of the prompts."""


@dataclass(frozen=True)
class TaskProfile:
    """The scores of a model's heads on the prompts of a task."""

    task: str
    values: tuple[HeadValues, ...]
    nulls: tuple[Null, ...]
    answer: MeanLogit
    ioi_like: bool

    def measurements(self, model: ModelProfile) -> Measurements:
        """The measurements of this and the model's profile."""
        return Measurements.of(
            [*model.values, *self.values],
            [*model.nulls, *self.nulls],
            {**model.answer_logits, self.task: self.answer.significant},
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
    submit: Submit | None = None,
    elsewhere: Callable[[int, int], Mapping[str, Tensor]] | None = None,
    queries_elsewhere: Callable[[Sequence[Node]], QueriesElsewhere] | None = None,
    backups_elsewhere: Callable[[Sequence[Node]], MeasureWithout] | None = None,
) -> TaskProfile:
    """Compute scores on the prompts and, if some heads contribute to the answer directly, more.

    Query effects and backups are about those heads, which are the movers of these scores.

    Args:
        submit: lets others compute parts, which are functions of a `TaskSubject`; None computes
            them here.
        elsewhere: as in `task_scores`.
        queries_elsewhere: returns `elsewhere` of `query_effects`, given the movers.
        backups_elsewhere: returns what measures direct effects, given the movers, where others do.

    Raises:
        PromptError: the model cannot process the prompts.
    """

    def progress(done: int, total: int) -> None:
        report("ablations", _ABLATIONS * done / total)

    subject = TaskSubject(weights, task.name, prompts, relation, seed, memory)
    start = compute_here(subject) if submit is None else submit
    answered = start(score_answers)
    random = [
        start(score_answers_of_random_model, number)
        for number in range(random_model_count(weights))
    ]
    report("ablations", 0.0)
    scores = task_scores(weights, prompts, memory=memory, progress=progress, elsewhere=elsewhere)
    values = [HeadValues.of_samples(n, s, task.name) for n, s in scores.samples.items()]
    effect = metric_key("direct_effect", task.name)
    nulls = nulls_of(effect, "other answers", scores.other_answers)
    for name, samples in scores.counterfactual.items():
        nulls += nulls_of(metric_key(name, task.name), "corrupted prompts", samples.mean(0))
    report("answers", _ABLATIONS)
    values += answered()
    for drawn in zip(*(wait() for wait in random), strict=True):
        every = np.concatenate([value.mean.ravel() for value in drawn])
        nulls += nulls_of(drawn[0].key, "random weights", every)
    report("movers", _ANSWERS)
    readers = _readers(scores.samples)
    if readers:
        found = start(score_answer_reading, readers)()
        values.append(HeadValues.of_samples("answer_reading", found.samples, task.name))
        nulls += nulls_of(values[-1].key, "other answers", found.other_answers)
    measured = Measurements.of(values, nulls, {task.name: scores.answer.significant})
    movers = heads_with_role(measured, "direct_contributor", task.name)
    if movers:
        queries = None if queries_elsewhere is None else queries_elsewhere(movers)
        others = None if backups_elsewhere is None else backups_elsewhere(movers)
        for value, null in _mover_values(subject, movers, report, queries, others):
            values.append(value)
            nulls += null
    return TaskProfile(task.name, tuple(values), tuple(nulls), scores.answer, is_ioi_like(task))


@dataclass(frozen=True)
class TaskSubject:
    """What the parts of a profile on a task are computed from.

    Args:
        task: its name.
    """

    weights: TransformerWeights
    task: str
    prompts: PromptSet
    relation: Relation | None
    seed: int
    memory: int


def score_answers(subject: TaskSubject) -> list[HeadValues]:
    """The scores of answers that follow from the weights."""
    return _scores_of_answers(subject, subject.weights)


def score_answers_of_random_model(subject: TaskSubject, number: int) -> list[HeadValues]:
    """The same scores of one random model."""
    return _scores_of_answers(subject, random_model(subject.weights, subject.seed, number))


def score_answer_reading(subject: TaskSubject, heads: Sequence[Node]) -> AnswerReading:
    """How much of the answers depends on what heads read at them."""
    return answer_reading(subject.weights, subject.prompts, heads, memory=subject.memory)


def _readers(samples: Mapping[str, np.ndarray]) -> tuple[Node, ...]:
    """The heads that attend to the answer with at least `READS` on average."""
    if "attention_to_answer" not in samples:
        return ()
    mean = samples["attention_to_answer"].mean(0)
    with np.errstate(invalid="ignore"):
        return tuple(head(int(layer), int(index)) for layer, index in np.argwhere(mean >= READS))


def _scores_of_answers(subject: TaskSubject, weights: TransformerWeights) -> list[HeadValues]:
    prompts, memory = subject.prompts, subject.memory
    every = dict.fromkeys(token for ids in (*prompts.correct, *prompts.incorrect) for token in ids)
    answers = torch.tensor(list(every)[:MOST_ANSWERS], device=weights.device)
    names = ("answer_copying", "answer_suppression")
    found = top_and_bottom_values(weights, answers, names, memory, subject.task)
    if subject.relation is not None:
        found.append(relation_values(weights, subject.relation, memory, subject.task))
    return found


def _mover_values(
    subject: TaskSubject,
    movers: Sequence[Node],
    report: Report,
    queries_elsewhere: QueriesElsewhere | None,
    backups_elsewhere: MeasureWithout | None,
) -> Iterator[tuple[HeadValues, list[Null]]]:
    """The scores that depend on which heads are movers, with their nulls."""
    weights, prompts, memory = subject.weights, subject.prompts, subject.memory

    def patched(done: int, total: int) -> None:
        report("movers", _ANSWERS + (_MOVERS - _ANSWERS) * done / total)

    def searched(done: int, total: int) -> None:
        report("backup heads", _MOVERS + (1 - _MOVERS) * done / total)

    effects = query_effects(
        weights, prompts, movers, memory=memory, progress=patched, elsewhere=queries_elsewhere
    )
    yield HeadValues.of_samples("query_effect", effects, subject.task), []
    measure = task_measure(weights, prompts, memory)
    backups = find_backups(
        measure,
        movers,
        weights,
        seed=subject.seed,
        progress=searched,
        elsewhere=backups_elsewhere,
    )
    yield backups.values("mover", subject.task)


def model_metrics(
    weights: TransformerWeights, prompts: PromptSet, names: Sequence[MetricName], memory: int
) -> dict[str, float]:
    """Each metric of the whole model, mean over answers, under `model_` and its name.

    Without KL, and without metrics that need incorrect answers if a prompt has none.
    """
    whole = all(prompts.incorrect)
    wanted: list[MetricName] = [
        n for n in names if n != "kl" and (whole or not METRICS[n].needs_incorrect)
    ]
    found: dict[MetricName, list[Tensor]] = {name: [] for name in wanted}
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    with torch.no_grad():
        for rows in chunks(len(prompts), size):
            part, _ = select_prompts(prompts, rows)
            final = run_tokens(weights, part.clean)[part.answer_row, part.answer_pos]
            logprobs = unembed(weights, final).log_softmax(-1)
            right, wrong = (token_mask(logprobs, ids) for ids in (part.correct, part.incorrect))
            inputs = MetricInputs(logprobs, logprobs, right, wrong)
            for name in wanted:
                found[name].append(METRICS[name].score(inputs).cpu().to(torch.float64))
    return {f"model_{name}": float(torch.cat(parts).mean()) for name, parts in found.items()}
