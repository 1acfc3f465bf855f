"""A run of a method that scores every edge and keeps the best."""

from __future__ import annotations

from acdc_pipeline.algorithms import SCORERS, Question
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.execution.methods.job import Found, Job
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs import ScoredMethod


def run_scored(job: Job, method: ScoredMethod) -> Found:
    """The best edges by the method's scores, in a circuit of the size asked for.

    Raises:
        InvalidInput: the graph has fewer edges than that.
    """
    bench, progress = job.bench, job.progress
    topology = bench.weights.topology
    edges = method.size(topology.n_edges)
    if edges > topology.n_edges:
        raise InvalidInput(
            f"{edges} is more than the graph of {job.run.model} has",
            field="edges",
            allowed=f"1 to {topology.n_edges}",
            fix="ask for fewer, or for a share",
        )
    progress.start(topology.n_edges, job.label)
    question = Question(
        bench=bench,
        objective=objective_for(bench, method.metric),
        differentiable=differentiable_objective_for(bench, method.metric),
        seed=job.run.seed,
        memory=job.memory,
        advance=lambda share: _tell(job, share),
    )
    try:
        scores = SCORERS[job.run.method.name](question, method)
    finally:
        progress.finish()
    circuit = cut(topology, scores, edges=edges, rank=method.ranking)
    return Found(circuit=circuit, measured=circuit.edges)


def _tell(job: Job, share: float) -> None:
    """Progress counts edges: those scored so far stand for the work done."""
    total = job.bench.weights.topology.n_edges
    scored = round(share * total)
    job.progress.advance(scored, 0, total - scored)
