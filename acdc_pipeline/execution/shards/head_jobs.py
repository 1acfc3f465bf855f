"""Parts of a head profile as jobs.

They are the scores of the model and of random ones from the weights and on random tokens, the heads
of a layer on a task, the queries that they change, and scores without some heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from torch import Tensor

from acdc_pipeline.execution.profile_run import amounts_of, bos_of, check_profiled
from acdc_pipeline.execution.shards.circuit_jobs import RunJobs, subject_of
from acdc_pipeline.execution.shards.shard import Shard
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.graph import Node
from acdc_pipeline.heads.backup import (
    Measure,
    MeasureWithout,
    measure_without,
    random_token_measures,
    task_measure,
)
from acdc_pipeline.heads.model_profile import ModelSubject, draw_tokens
from acdc_pipeline.heads.query_effects import QueriesElsewhere, QueryPatcher, layers_before
from acdc_pipeline.heads.relations import task_relation
from acdc_pipeline.heads.task_profile import TaskSubject
from acdc_pipeline.heads.task_scores import LayerScorer, prompts_together
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import ProfileMethod

Nodes = tuple[Node, ...]


class HeadJobs:
    """What other workers measure for one profile.

    A job has the same bits as in one process: a layer is scored whole, and so is every model, and
    every set of heads that are ablated together.
    """

    def __init__(self, jobs: RunJobs) -> None:
        self._jobs = jobs
        self._layers: dict[tuple[int, int], Future[dict[str, Tensor]]] = {}

    def submit_on_model(self, function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        """Let a worker compute a function of a `ModelSubject`; return what waits for its result."""
        return self._jobs.submit(on_model, function, arguments).result

    def submit_on_task(self, function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        """Let a worker compute a function of a `TaskSubject`; return what waits for its result."""
        return self._jobs.submit(on_task, function, arguments).result

    def queries(self, movers: Sequence[Node]) -> QueriesElsewhere:
        """Let workers patch the queries of movers; see `QueryPatcher.effects`."""
        given, layers = tuple(movers), layers_before(movers)
        waiting: dict[tuple[int, int], Future[Tensor]] = {}

        def effects(part: int, layer: int) -> Tensor:
            if (part, layer) not in waiting:
                for each in layers[layer:]:
                    waiting[part, each] = self._jobs.submit(patch_queries, given, part, each)
            return waiting.pop((part, layer)).result()

        return effects

    def start_layers(self, weights: TransformerWeights, prompts: PromptSet, memory: int) -> None:
        """Let workers score the heads on the prompts of the task, layer by layer."""
        for part in range(len(prompts_together(weights, prompts, memory))):
            for layer in range(len(weights.blocks)):
                job = self._jobs.submit_later(score_layer, part, layer)
                self._layers[part, layer] = job

    def layer_scores(self, part: int, layer: int) -> dict[str, Tensor]:
        """As `LayerScorer.score`."""
        return self._layers.pop((part, layer)).result()

    def without_heads(self, role: str, mains: Mapping[str, Sequence[Node]]) -> MeasureWithout:
        """Measure the score of a role on random tokens; see `random_token_measures`."""
        given = {name: tuple(nodes) for name, nodes in mains.items()}

        def measure(sets: Sequence[Sequence[Node]]) -> Iterator[np.ndarray]:
            jobs = [
                self._jobs.submit(without_heads_on_tokens, role, given, tuple(nodes))
                for nodes in sets
            ]
            return (job.result() for job in jobs)

        return measure

    def without_movers(self, movers: Sequence[Node]) -> MeasureWithout:
        """Measure direct effects on the answers; see `task_measure`."""

        def measure(sets: Sequence[Sequence[Node]]) -> Iterator[np.ndarray]:
            jobs = [self._jobs.submit(without_heads_on_task, tuple(nodes)) for nodes in sets]
            return (job.result() for job in jobs)

        return measure

    def close(self) -> None:
        """End the workers."""
        self._jobs.pool.close()


def score_layer(shard: Shard, part: int, layer: int) -> dict[str, Tensor]:
    """The scores of the heads of one layer on one part of the prompts."""
    kept = _kept_of_run(shard)
    if "layers" not in kept:
        kept["layers"] = LayerScorer(*_task_inputs(shard))
    scores = kept["layers"].score(part, layer)
    return {name: values.cpu() for name, values in scores.items()}


def on_model(shard: Shard, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function of a `ModelSubject`."""
    return function(_model_subject(shard), *arguments)


def on_task(shard: Shard, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function of a `TaskSubject`."""
    kept, (_, run, task) = _kept_of_run(shard), subject_of(shard)
    if "answers" not in kept:
        weights, prompts, memory = _task_inputs(shard)
        tokenizer = subject_of(shard)[0].model(run).tokenizer
        relation = task_relation(task, tokenizer, weights.w_u.shape[1])
        kept["answers"] = TaskSubject(weights, task.name, prompts, relation, run.seed, memory)
    return function(kept["answers"], *arguments)


def patch_queries(shard: Shard, movers: Nodes, part: int, layer: int) -> Tensor:
    """The effects of the heads of one layer on one part of the prompts, by queries of movers."""
    kept = _kept_of_run(shard)
    if kept.get("movers") != movers:
        weights, prompts, memory = _task_inputs(shard)
        kept["patcher"] = QueryPatcher(weights, prompts, movers, memory)
        kept["movers"] = movers
    patcher: QueryPatcher = kept["patcher"]
    return patcher.effects(part, layer).cpu()


def without_heads_on_tokens(
    shard: Shard, role: str, mains: dict[str, Nodes], nodes: Nodes
) -> np.ndarray:
    """The score of a role on random tokens without some heads."""
    kept, subject = _kept_of_run(shard), _model_subject(shard)
    if kept.get("mains") != mains:
        drawn = subject.drawn.sequences
        assert drawn is not None
        kept["measures"] = random_token_measures(
            subject.weights, drawn.tokens, drawn.period, mains, subject.memory
        )
        kept["mains"] = mains
    measures: dict[str, Measure] = kept["measures"]
    return measure_without(measures[role], nodes, subject.weights)


def without_heads_on_task(shard: Shard, nodes: Nodes) -> np.ndarray:
    """Direct effects on the answers of the task without some heads."""
    kept, (weights, prompts, memory) = _kept_of_run(shard), _task_inputs(shard)
    if "task" not in kept:
        kept["task"] = task_measure(weights, prompts, memory)
    return measure_without(kept["task"], nodes, weights)


def _kept_of_run(shard: Shard) -> dict[str, Any]:
    """What jobs of the same profile keep for one another."""
    _, run, _ = subject_of(shard)
    if shard.kept.get("heads of") != run.run_id():
        shard.kept.clear()
        shard.kept["heads of"] = run.run_id()
    return shard.kept


def _model_subject(shard: Shard) -> ModelSubject:
    """What the parts of the profile of the model are computed from."""
    kept, (worker, run, _) = _kept_of_run(shard), subject_of(shard)
    if "model" not in kept:
        model, method = worker.model(run), run.method
        assert isinstance(method, ProfileMethod)
        drawn = draw_tokens(
            model.weights,
            model.tokenizer,
            bos=bos_of(model),
            amounts=amounts_of(method),
            seed=run.seed,
        )
        kept["model"] = ModelSubject(model.weights, drawn, run.seed, worker.budget)
    return kept["model"]


def _task_inputs(shard: Shard) -> tuple[TransformerWeights, PromptSet, int]:
    """The model, the prompts of the task and the byte budget."""
    kept, (worker, run, task) = _kept_of_run(shard), subject_of(shard)
    model = worker.model(run)
    if "prompts" not in kept:
        prompts = prompts_for(model, task, n=run.prompts, seed=run.seed)
        kept["prompts"] = check_profiled(model, prompts).to(model.weights.device)
    return model.weights, kept["prompts"], worker.budget
