"""Decision logs of ACDC against forwards that know nothing of the search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from jaxtyping import Bool

from acdc_pipeline.engine import Bench
from acdc_pipeline.evaluation import circuit_logprobs, measure, measure_circuits
from acdc_pipeline.graph import Decision, Topology

ALONE = 7
"""Of so many decisions one is measured in a forward of its own too."""


def masks_tried(
    topology: Topology, decisions: Sequence[Decision]
) -> list[Bool[np.ndarray, " edge"]]:
    """The edges that were present when each decision was made, without the edge it is about."""
    present = np.ones(topology.n_edges, dtype=bool)
    masks = []
    for decision in decisions:
        masks.append(present.copy())
        masks[-1][topology.edge_index(decision.edge)] = False
        if decision.removed:
            present = masks[-1]
    return masks


def assert_logged_as_measured(
    bench: Bench, decisions: Sequence[Decision], tolerance: float = 1e-12
) -> None:
    """The metric of every decision is that of its circuit without the edge, computed anew."""
    topology = bench.weights.topology
    masks = masks_tried(topology, decisions)
    found = [decision.metric_after for decision in decisions]
    together = [values["kl"] for values in measure_circuits(bench, masks, ["kl"])]
    assert found == pytest.approx(together, abs=tolerance)
    for mask, value in list(zip(masks, found, strict=True))[::ALONE]:
        alone = measure(bench, circuit_logprobs(bench, topology.edges_in(mask)), ["kl"])
        assert value == pytest.approx(alone["kl"], abs=tolerance)
