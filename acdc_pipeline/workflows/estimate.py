"""What a run will take: as long as runs like it took, else by a count of operations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.models.describe import ModelDescription
from acdc_pipeline.specs import Method, RunSpec, WorkerProfile
from acdc_pipeline.store import RunSummary

Basis = Literal["store", "count"]
"""Runs of the same task, model and method in the store, or a count of operations."""

CPU_RATE = 40e9
"""Operations a second of one CPU, as the engine uses it (docs/speed.md)."""
GPU_RATE = 1e13
"""Operations a second of one GPU. Assumed: nothing has been measured on one."""

SHARE_OF_FORWARD = 0.02
"""Of a forward pass, per tested edge: 0.7 % of the edges kept took 0.004, 19 % took 0.2."""
SECONDS_PER_TEST = 0.002
"""Per tested edge beside its operations."""

FORWARDS_OF_SCORES = 30
"""Forward passes of a method that scores all edges together, and of each of its steps a tenth."""

# Of a forward pass, per tested edge. In `exact` nothing is removed when an edge is tried, so that
# the change reaches half the model on average.
_PER_TEST = {"acdc": SHARE_OF_FORWARD, "eap-ig-acdc": SHARE_OF_FORWARD, "exact": 0.5}
# These score nothing beside.
_TESTS_ALONE = ("acdc", "exact")

_ITEMSIZE = {"float64": 8}

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Estimate:
    """What one run will take.

    Args:
        seconds: on one worker.
        edge_tests: at most so many edges are tested, 0 for methods that test none one by one.
        memory: bytes a search that keeps every edge takes, with the weights.
        basis: where `seconds` comes from.
    """

    seconds: float
    edge_tests: int
    memory: int
    basis: Basis


def past_runs(summaries: Iterable[RunSummary]) -> Mapping[Key, list[RunSummary]]:
    """`summaries` by what makes runs alike: task, model and method."""
    past: dict[Key, list[RunSummary]] = {}
    for summary in summaries:
        past.setdefault(_key(summary.spec), []).append(summary)
    return past


def estimate(
    run: RunSpec,
    tokens: int,
    model: ModelDescription,
    past: Mapping[Key, list[RunSummary]],
    profile: WorkerProfile,
) -> Estimate:
    """What `run`, on prompts of so many tokens, will take on a worker of `profile`.

    Right within a factor of ten or so. A run takes as long as the one of its kind in the store
    whose threshold is nearest, scaled by the prompts; where there is none, as long as its
    operations take at the rates above.
    """
    tests = run.method.edges_tested(model.n_edges)
    memory = _memory(run, model, tokens)
    if alike := past.get(_key(run)):
        nearest = min(alike, key=lambda summary: _distance(summary.spec.method, run.method))
        seconds = nearest.wall_seconds * run.prompts / nearest.spec.prompts
        return Estimate(seconds, tests, memory, "store")
    forward = _forward_operations(model, run.prompts, tokens)
    operations = forward * _forwards(run.method, tests)
    rate = GPU_RATE * min(1.0, profile.gpus) if profile.gpus else CPU_RATE * profile.cpus_each
    return Estimate(operations / rate + tests * SECONDS_PER_TEST, tests, memory, "count")


def parameters(model: ModelDescription) -> int:
    """Weights of a model, about: gated MLPs are taken for granted."""
    attention = 2 * model.d_head * (model.n_heads + model.n_kv_heads)
    block = model.d_model * (attention + 3 * model.d_mlp)
    return model.n_layers * block + 2 * model.vocab * model.d_model


def _forward_operations(model: ModelDescription, prompts: int, tokens: int) -> float:
    unembedding = model.vocab * model.d_model
    blocks = parameters(model) - 2 * unembedding
    return 2.0 * prompts * (tokens * blocks + unembedding)


def _memory(run: RunSpec, model: ModelDescription, tokens: int) -> int:
    shape = ModelShape(model.topology, model.d_model, model.d_head, model.d_mlp, model.vocab)
    itemsize = _ITEMSIZE.get(run.dtype, 4)
    search = MemoryPlan(shape, run.prompts, tokens, answers=run.prompts, itemsize=itemsize)
    return search.most + itemsize * parameters(model)


def _forwards(method: Method, tests: int) -> float:
    testing = tests * _PER_TEST.get(method.name, 0.0)
    if method.name in _TESTS_ALONE:
        return testing
    values = method.plain()
    points = values.get("steps", 0) * values.get("rounds", 1)
    return testing + FORWARDS_OF_SCORES * (1 + points / 10)


def _key(run: RunSpec) -> Key:
    return run.task_hash, run.model_revision, run.method.name


def _distance(one: Method, other: Method) -> float:
    a, b = (method.plain().get("threshold") for method in (one, other))
    return 0.0 if not a or not b else abs(math.log(a / b))
