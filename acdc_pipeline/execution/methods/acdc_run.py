"""A run of ACDC."""

from __future__ import annotations

from collections.abc import Container

import torch

from acdc_pipeline.algorithms import Replay, acdc
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution.methods.job import Found, Job
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.graph import Decision, Edge, Receiver, Topology
from acdc_pipeline.graph.search_order import HeadOrder, receivers_backwards
from acdc_pipeline.specs import AcdcMethod


def run_acdc(job: Job, method: AcdcMethod) -> Found:
    """The circuit that ACDC leaves, with its decision log.

    A search that was interrupted goes on from the decisions that were kept of it.
    """
    bench, progress = job.bench, job.progress
    topology = bench.weights.topology
    counter = Counter(progress, topology, method.order, topology.edge_set)
    progress.start(topology.n_edges, job.label)
    try:
        with torch.no_grad():
            result = acdc(
                Replay(
                    bench.search(objective_for(bench, method.metric), memory=job.memory),
                    job.kept.log(),
                ),
                topology,
                threshold=method.threshold,
                order=method.order,
                difference=method.difference,
                on_decision=counter,
                on_resumable=job.kept.offer,
            )
    finally:
        progress.finish()
    # A dead node keeps the edges into it that were never tested. Nothing reads it; but where a
    # norm couples the heads of a layer, it still counts.
    removed = {decision.edge for decision in result.decisions if decision.removed}
    last = result.decisions[-1]
    return Found(
        circuit=result.circuit,
        measured=topology.edge_set - removed,
        decisions=result.decisions,
        last_value=last.metric_after if last.removed else last.metric_before,
        details={
            "edges_tested": len(result.decisions),
            "smallest_margin": result.smallest_margin,
        },
    )


class Counter:
    """Turns decisions into progress. Edges of dead nodes are never tested, so `left` is a bound.

    Args:
        progress: who is told.
        topology: the graph that is searched.
        order: in which its edges come.
        candidates: those of its edges that are tested.
    """

    def __init__(
        self, progress: Progress, topology: Topology, order: HeadOrder, candidates: Container[Edge]
    ) -> None:
        self.progress = progress
        self.tested = 0
        self.kept = 0
        self.left_from: dict[Receiver, int] = {}
        left = 0
        for receiver in reversed(receivers_backwards(topology, order)):
            sources = topology.sources_of(receiver)
            left += sum(Edge.into(source, receiver) in candidates for source in sources)
            self.left_from[receiver] = left
        self.receiver: Receiver | None = None
        self.left = 0

    def __call__(self, decision: Decision) -> None:
        if decision.edge.receiver != self.receiver:
            self.receiver = decision.edge.receiver
            self.left = self.left_from[self.receiver]
        self.tested += 1
        self.left -= 1
        self.kept += not decision.removed
        self.progress.advance(self.tested, self.kept, self.left)
