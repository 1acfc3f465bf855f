"""Parts of a head profile as jobs: the heads of a layer on a task, scores without some heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from acdc_pipeline.heads.model_profile import draw_tokens
from acdc_pipeline.heads.task_scores import LayerScorer, prompts_together
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs import ProfileMethod

Nodes = tuple[Node, ...]


class HeadJobs:
    """What other workers measure for one profile.

    A job has the same bits as in one process: a layer is scored whole, and so is every set of
    heads that are ablated together.
    """

    def __init__(self, jobs: RunJobs) -> None:
        self._jobs = jobs
        self._layers: dict[tuple[int, int], Future[dict[str, Tensor]]] = {}

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
            jobs = [self._jobs.submit(on_tokens, role, given, tuple(nodes)) for nodes in sets]
            return (job.result() for job in jobs)

        return measure

    def without_movers(self, movers: Sequence[Node]) -> MeasureWithout:
        """Measure direct effects on the answers; see `task_measure`."""

        def measure(sets: Sequence[Sequence[Node]]) -> Iterator[np.ndarray]:
            jobs = [self._jobs.submit(on_task, tuple(nodes)) for nodes in sets]
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


def on_tokens(shard: Shard, role: str, mains: dict[str, Nodes], nodes: Nodes) -> np.ndarray:
    """The score of a role on random tokens without some heads."""
    kept, (worker, run, _) = _kept_of_run(shard), subject_of(shard)
    model = worker.model(run)
    if kept.get("mains") != mains:
        method = run.method
        assert isinstance(method, ProfileMethod)
        drawn = draw_tokens(
            model.weights,
            model.tokenizer,
            bos=bos_of(model),
            amounts=amounts_of(method),
            seed=run.seed,
        ).sequences
        assert drawn is not None
        kept["measures"] = random_token_measures(
            model.weights, drawn.tokens, drawn.period, mains, worker.budget
        )
        kept["mains"] = mains
    measures: dict[str, Measure] = kept["measures"]
    return measure_without(measures[role], nodes, model.weights)


def on_task(shard: Shard, nodes: Nodes) -> np.ndarray:
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


def _task_inputs(shard: Shard) -> tuple[TransformerWeights, PromptSet, int]:
    """The model, the prompts of the task and the byte budget."""
    kept, (worker, run, task) = _kept_of_run(shard), subject_of(shard)
    model = worker.model(run)
    if "prompts" not in kept:
        prompts = prompts_for(model, task, n=run.prompts, seed=run.seed)
        kept["prompts"] = check_profiled(model, prompts).to(model.weights.device)
    return model.weights, kept["prompts"], worker.budget
