"""Forecast what a sweep will take: measured on similar runs in the store, else by operations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.models.describe import ModelDescription
from acdc_pipeline.specs import (
    DocstringGenerator,
    Method,
    PairsGenerator,
    PromptPair,
    RepeatedTokensGenerator,
    RunSpec,
    TaskSpec,
    TemplateGenerator,
    WorkerProfile,
)
from acdc_pipeline.specs.generators import TableGenerator, YearsGenerator
from acdc_pipeline.store import RunSummary
from acdc_pipeline.workflows.sweep import SweepStatus

Basis = Literal["store", "count"]
"""Similar runs in the store (same task, model and method), or a count of operations."""

CPU_RATE = 40e9
"""Operations per second of one CPU, measured on the engine (docs/speed.md)."""
GPU_RATE = 1e13
"""Operations per second of one GPU; an assumption, not a measurement."""

SECONDS_PER_TEST = 0.002
"""Overhead per tested edge."""

FORWARDS_OF_SCORES = 30
"""Forward passes of a method that scores all edges together; each of its steps adds a tenth."""

_ITEMSIZE = {"float64": 8}

_Kind = tuple[str, str, str]

UNKNOWN_LENGTH = 32
"""Tokens of prompts that a function generates."""

# A word is one token, and so is a punctuation mark; rare words are several.
_PIECE = re.compile(r"\w+|[^\w\s]")

_PAIRS_READ = 1000


@dataclass(frozen=True)
class Estimate:
    """Forecast of one run.

    Args:
        seconds: time on one worker.
        edge_tests: upper bound of tested edges; 0 for methods that only score.
        memory: bytes of a search that keeps every edge, weights included.
    """

    seconds: float
    edge_tests: int
    memory: int
    basis: Basis


@dataclass(frozen=True)
class CellForecast:
    """Forecast of the runs of one task in one model.

    Args:
        cached, to_run, failed: runs in the store, to execute, and failed before.
        refused, unsupported: combinations that are no run, and those of them whose model the engine
            does not reproduce; the model of the others is missing or damaged.
        edges: size of the model's graph; None if the model is refused.
        edge_tests: upper bound of tested edges in the runs to execute.
        seconds: time of the runs to execute on one worker.
        measured: number of them that are estimated from similar runs.
        memory: upper bound of bytes of the largest run to execute; None if there is none.
    """

    model: str
    task: str
    cached: int
    to_run: int
    failed: int
    refused: int
    unsupported: int
    edges: int | None
    edge_tests: int
    seconds: float
    measured: int
    memory: int | None


def forecast(
    work: SweepStatus, summaries: Iterable[RunSummary], profile: WorkerProfile
) -> tuple[CellForecast, ...]:
    """Forecast each task in each model, in the order of the sweep."""
    past: dict[_Kind, list[RunSummary]] = {}
    for summary in summaries:
        past.setdefault(_kind(summary.spec), []).append(summary)
    states: dict[tuple[str, str], Counter[str]] = {}
    estimates: dict[tuple[str, str], list[Estimate]] = {}
    tasks = {id(planned.task): planned.task for planned in work.plan.runs}
    tokens = {key: rough_tokens(task) for key, task in tasks.items()}
    for planned in work.plan.runs:
        cell = planned.run.model, planned.run.task
        state = work.state(planned)
        states.setdefault(cell, Counter())[state] += 1
        if state == "to run":
            model = work.plan.models[planned.run.model]
            one = estimate(planned.run, tokens[id(planned.task)], model, past, profile)
            estimates.setdefault(cell, []).append(one)
    for refusal in work.plan.refused:
        cell = str(refusal.cell.model), refusal.cell.task.name
        counts = states.setdefault(cell, Counter())
        counts["refused"] += 1
        counts["unsupported"] += refusal.unsupported
    return tuple(
        _cell(work, model, task, counts, estimates.get((model, task), []))
        for (model, task), counts in states.items()
    )


def estimate(
    run: RunSpec,
    tokens: int,
    model: ModelDescription,
    past: Mapping[_Kind, list[RunSummary]],
    profile: WorkerProfile,
) -> Estimate:
    """Estimate `run` on prompts of `tokens` tokens, within a factor of about ten.

    The time is that of the similar run in `past` with the nearest threshold, scaled by the number
    of prompts; without one, that of its operations at the rates above.
    """
    tests = run.method.edges_tested(model.n_edges)
    memory = _memory(run, model, tokens)
    if alike := past.get(_kind(run)):
        nearest = min(alike, key=lambda summary: _distance(summary.spec.method, run.method))
        seconds = nearest.wall_seconds * run.prompts / nearest.spec.prompts
        return Estimate(seconds, tests, memory, "store")
    forward = forward_operations(model, run.prompts, tokens)
    operations = forward * _forwards(run.method, tests)
    rate = GPU_RATE * min(1.0, profile.gpus) if profile.gpus else CPU_RATE * profile.cpus_each
    return Estimate(operations / rate + tests * SECONDS_PER_TEST, tests, memory, "count")


def parameters(model: ModelDescription) -> int:
    """Approximate number of weights, with gated MLPs and mixers like Mamba's."""
    held, _ = model.experts or (1, 1)
    return _blocks(model, held) + 2 * model.vocab * model.d_model


def _blocks(model: ModelDescription, mlps: int) -> int:
    """Approximate number of weights in all layers, with this number of MLPs in each."""
    sizes = {
        "a": model.d_model * 2 * model.d_head * (model.n_heads + model.n_kv_heads),
        "r": 6 * model.d_model**2,  # of a Mamba twice as wide as the stream
        "m": model.d_model * 3 * mlps * model.d_mlp,
    }
    layers = range(model.n_layers)
    return sum(sizes[part] for layer in layers for part in model.topology.parts(layer))


def shape_of(model: ModelDescription) -> ModelShape:
    """Return the sizes of a model that determine how large activations are."""
    _, used = model.experts or (1, 1)
    d_mlp = used * model.d_mlp
    return ModelShape(model.topology, model.d_model, model.d_head, d_mlp, model.vocab)


def rough_tokens(task: TaskSpec) -> int:
    """Estimate the tokens of a long prompt without a tokenizer: one per word or mark."""
    bos = int(bool(task.generator.bos))
    match task.generator:
        case RepeatedTokensGenerator() as spec:
            return bos + spec.length[1]
        case TemplateGenerator() | TableGenerator() | YearsGenerator() as spec:
            return bos + max(_pieces(text) for text in spec.templates)
        case DocstringGenerator() as spec:
            lines = (spec.description_words + 4) * spec.documented
            return bos + 10 + 2 * spec.arguments + spec.summary_words + lines
        case PairsGenerator() as spec:
            return bos + max(_length(pair) for pair in spec.pairs[:_PAIRS_READ])
        case _:
            return UNKNOWN_LENGTH


def _cell(
    work: SweepStatus, model: str, task: str, counts: Counter[str], todo: list[Estimate]
) -> CellForecast:
    description = work.plan.models.get(model)
    return CellForecast(
        model=model,
        task=task,
        cached=counts["cached"],
        to_run=counts["to run"],
        failed=counts["failed before"],
        refused=counts["refused"],
        unsupported=counts["unsupported"],
        edges=None if description is None else description.n_edges,
        edge_tests=sum(one.edge_tests for one in todo),
        seconds=math.fsum(one.seconds for one in todo),
        measured=sum(one.basis == "store" for one in todo),
        memory=max((one.memory for one in todo), default=None),
    )


def forward_operations(model: ModelDescription, prompts: int, tokens: int) -> float:
    """Count the operations of a forward pass with one answer per prompt, within about 10 %."""
    _, used = model.experts or (1, 1)
    blocks = _blocks(model, used)
    return 2.0 * prompts * (tokens * blocks + model.vocab * model.d_model)


def _memory(run: RunSpec, model: ModelDescription, tokens: int) -> int:
    itemsize = _ITEMSIZE.get(run.dtype, 4)
    search = MemoryPlan(
        shape_of(model), run.prompts, tokens, answers=run.prompts, itemsize=itemsize
    )
    return search.most + itemsize * parameters(model)


def _forwards(method: Method, tests: int) -> float:
    testing = tests * method.TEST_COST
    if not method.COMPUTES_SCORES:
        return testing
    values = method.plain()
    points = values.get("steps", 0) * values.get("rounds", 1)
    return testing + FORWARDS_OF_SCORES * (1 + points / 10)


def _kind(run: RunSpec) -> _Kind:
    return run.task_hash, run.model_revision, run.method.name


def _distance(one: Method, other: Method) -> float:
    a, b = (method.plain().get("threshold") for method in (one, other))
    return 0.0 if not a or not b else abs(math.log(a / b))


def _pieces(text: str) -> int:
    return len(_PIECE.findall(re.sub(r"\{\w+\}", "word", text)))


def _length(pair: PromptPair) -> int:
    return len(pair.clean) if isinstance(pair.clean, tuple) else _pieces(pair.clean)
