"""Any method, called on a bench without a store around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine import Bench
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.methods import PreparedRun, SharedWork, run_method
from acdc_pipeline.execution.problem import Advance, BenchProblem
from acdc_pipeline.execution.progress import Silent
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.circuit import Rank
from acdc_pipeline.specs import (
    METHODS,
    RunSpec,
    ScoredMethod,
    TaskSpec,
    circuit_method,
    method_for,
)

MEMORY = 2**30


@dataclass(frozen=True)
class Found:
    """The circuit of a method, with the scores of all edges if it gives any, and how they rank."""

    circuit: Circuit
    rank: Rank


@dataclass(frozen=True)
class _WithScores(BenchProblem):
    """A problem whose edges have known scores."""

    known: EdgeScores = field(default_factory=dict)

    def scores(self, method: ScoredMethod, seed: int, advance: Advance) -> EdgeScores:
        return self.known


def is_search(method: str) -> bool:
    """Whether the circuits of a method have thresholds in place of scores."""
    return "threshold" in METHODS[method].parameters()


def find_circuit(
    method: str,
    task: TaskSpec,
    bench: Bench,
    *,
    model: str,
    seed: int = 0,
    shared: SharedWork | None = None,
    scores: EdgeScores | None = None,
    **values: Any,
) -> Found:
    """The circuit of a method with those of `values` that it has, its usual ones otherwise.

    A metric that the method cannot use is left out.

    Args:
        shared: of searches that differ from this one in the threshold alone; the results are the
            same.
        scores: of the edges, if they are known.
    """
    kind = METHODS[method]
    if values.get("metric") in kind.UNFIT:
        del values["metric"]
    known = {name: value for name, value in values.items() if name in kind.parameters()}
    run = RunSpec(
        task=task.name,
        task_hash=task.definition_hash(),
        model=model,
        model_revision="",
        method=method_for(method, known, task, where="benchmark"),
        prompts=len(bench.prompts),
        seed=seed,
        dtype="float32" if bench.ablated.element_size() == 4 else "float64",
    )
    problem = BenchProblem(bench, MEMORY)
    if scores is not None:
        problem = _WithScores(bench, MEMORY, known=scores)
    checkpoint = BoundCheckpoint(NoCheckpoint(), {})
    found = run_method(PreparedRun(run, problem, MEMORY, Silent(), checkpoint, shared))
    return Found(found.circuit, circuit_method(run.method).ranking)
