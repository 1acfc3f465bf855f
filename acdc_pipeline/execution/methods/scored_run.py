"""A run of a method that scores every edge and keeps the best."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.execution.methods.job import Found, Job
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs import MetricName, ScoredMethod


def run_scored(job: Job, method: ScoredMethod) -> Found:
    """The best edges by the method's scores, in a circuit of the size asked for.

    Raises:
        InvalidInput: the graph has fewer edges than that.
    """
    topology, progress = job.bench.weights.topology, job.progress
    edges = method.size(topology.n_edges)
    if edges > topology.n_edges:
        raise InvalidInput(
            f"{edges} is more than the graph of {job.run.model} has",
            field="edges",
            allowed=f"1 to {topology.n_edges}",
            fix="ask for fewer, or for a share",
        )
    progress.start(topology.n_edges, job.label)
    try:
        exact = score_edges(problem_of(job, method.metric), method)
    finally:
        progress.finish()
    # As they are stored: whoever cuts the stored scores again gets the same circuits.
    rounded = torch.tensor(list(exact.values()), dtype=torch.float32).tolist()
    scores = dict(zip(exact, rounded, strict=True))
    circuit = cut(topology, scores, edges=edges, rank=method.ranking)
    return Found(circuit=circuit, measured=circuit.edges)


def problem_of(job: Job, metric: MetricName) -> ScoringProblem:
    """What `job` asks a method that scores edges by what they do to `metric`."""
    return ScoringProblem(
        bench=job.bench,
        objective=objective_for(job.bench, metric),
        differentiable=differentiable_objective_for(job.bench, metric),
        seed=job.run.seed,
        memory=job.memory,
        advance=lambda share: _tell(job, share),
    )


def _tell(job: Job, share: float) -> None:
    """Progress counts edges: those scored so far stand for the work done."""
    total = job.bench.weights.topology.n_edges
    scored = round(share * total)
    job.progress.advance(scored, 0, total - scored)
