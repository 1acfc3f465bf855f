"""Methods that score edges, called on a bench without a run around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.specs import SCORED_METHODS, ScoredMethod, parse
from acdc_pipeline.specs.names import Ablation, MetricKey

USUAL: dict[str, Any] = {
    "metric": "logit_diff",
    "ablation": "corrupted",
    "share": 1.0,
    "edges": None,
    "rank": "magnitude",
    "steps": 3,
    "rounds": 1,
    "points": 2,
    "combine": "mean",
    "grad_drop": "layers",
    "learning_rate": 0.1,
    "penalty": 1.0,
    "budget": None,
    "block_penalty": 1.0,
    "neuron_penalty": 1.0,
}


def scored_method(name: str, **parameters: Any) -> ScoredMethod:
    """A method with `parameters`, the others as in `USUAL`."""
    values = {"name": name} | USUAL | parameters
    kind = SCORED_METHODS[name]
    return parse({f: v for f, v in values.items() if f in kind.model_fields}, kind, "tests")


def problem_of(
    bench: Bench,
    metric: MetricKey,
    *,
    seed: int = 0,
    memory: int = 2**30,
    advance: Callable[[float], None] = lambda share: None,
) -> ScoringProblem:
    """The problem that a run would pose."""
    return ScoringProblem(
        bench=bench,
        objective=objective_for(bench, metric),
        differentiable=differentiable_objective_for(bench, metric),
        seed=seed,
        memory=memory,
        advance=advance,
    )


def scores_of(
    name: str,
    bench: Bench,
    *,
    metric: MetricKey = "logit_diff",
    ablation: Ablation = "corrupted",
    seed: int = 0,
    memory: int = 2**30,
    **parameters: Any,
) -> dict[str, float]:
    """The score of every edge by its name."""
    method = scored_method(name, metric=metric, ablation=ablation, **parameters)
    problem = problem_of(bench, metric, seed=seed, memory=memory)
    scores = score_edges(problem, method)
    assert list(scores) == list(bench.weights.topology.edges)
    return {str(edge): score for edge, score in scores.items()}
