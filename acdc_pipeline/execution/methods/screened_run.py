"""A run of ACDC on what scores leave."""

from __future__ import annotations

import torch

from acdc_pipeline.algorithms.eap_ig_acdc import eap_ig_acdc, screen
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution.methods.acdc_run import Counter
from acdc_pipeline.execution.methods.job import Found, Job
from acdc_pipeline.execution.methods.scored_run import problem_of
from acdc_pipeline.specs import EapIgAcdcMethod


def run_screened(job: Job, method: EapIgAcdcMethod) -> Found:
    """The circuit that ACDC leaves of the edges with the best scores, with its decision log.

    Raises:
        InvalidInput: the screen leaves no path from input to logits.
    """
    bench, progress = job.bench, job.progress
    topology = bench.weights.topology
    progress.start(topology.n_edges, job.label)
    try:
        screened = screen(problem_of(job, method.metric), method)
        if not screened.edges:
            raise InvalidInput(
                f"{method.screen:g} of the edges hold no path from input to logits",
                field="screen",
                fix="let more edges through",
            )
        counter = Counter(progress, topology, method.order, screened.edges)
        with torch.no_grad():
            search = bench.search(objective_for(bench, method.metric), memory=job.memory)
            result = eap_ig_acdc(search, screened, method, counter)
    finally:
        progress.finish()
    found = result.acdc
    removed = {decision.edge for decision in found.decisions if decision.removed}
    return Found(
        circuit=found.circuit,
        measured=topology.edge_set - removed - result.dropped,
        decisions=found.decisions,
        last_value=result.last_value,
        details={
            "edges_tested": len(found.decisions),
            "edges_screened_out": topology.n_edges - len(screened),
            "smallest_margin": found.smallest_margin,
        },
    )
