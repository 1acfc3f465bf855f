"""Decision logs of ACDC against forwards that know nothing of the search."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import circuit_logprobs, measure, measure_circuits
from acdc_pipeline.graph import Decision

ALONE = 7
"""Of so many decisions one is measured in a forward of its own too."""


def assert_logged_as_measured(
    bench: Bench, decisions: Sequence[Decision], tolerance: float = 1e-12
) -> None:
    """The metric of every decision is that of its circuit without the edge, computed anew."""
    topology = bench.weights.topology
    present = topology.edge_mask(topology.edge_set)
    masks = []
    for decision in decisions:
        masks.append(present.copy())
        masks[-1][topology.edge_index(decision.edge)] = False
        if decision.removed:
            present = masks[-1]
    found = [decision.metric_after for decision in decisions]
    together = [values["kl"] for values in measure_circuits(bench, masks, ["kl"])]
    assert found == pytest.approx(together, abs=tolerance)
    for mask, value in list(zip(masks, found, strict=True))[::ALONE]:
        alone = measure(bench, circuit_logprobs(bench, topology.edges_in(mask)), ["kl"])
        assert value == pytest.approx(alone["kl"], abs=tolerance)
