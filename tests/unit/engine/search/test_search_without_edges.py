"""A search from the model without some edges decides as one that runs every circuit whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.engine.search.mask_search import Mask, MaskSearch
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.evaluation import measure_circuits, objective_for
from acdc_pipeline.graph import Edge
from tests import tiny_models
from tests.prompt_sets import random_prompts


@pytest.mark.parametrize(
    "names",
    [
        ("input->a1.h0<k>", "a0.h1->a1.h0<q>", "a0.h0->m1"),
        ("a1.h1->logits", "m0->logits", "input->a0.h0<v>", "m0->a1.h1<v>"),
    ],
)
@pytest.mark.parametrize("model", ["gpt2", "neox"])
def test_decisions_are_those_of_whole_circuits(model: str, names: tuple[str, ...]):
    weights = tiny_models.weights(model)
    topology = weights.topology
    bench = set_up(weights, random_prompts(3, 5, weights.w_e.shape[0]), "corrupted")
    removed = frozenset(map(Edge.parse, names))

    def measure(masks: Sequence[Mask]) -> list[float]:
        return [values["kl"] for values in measure_circuits(bench, masks, ["kl"])]

    fast = bench.search_without(removed, objective_for(bench, "kl"), memory=2**28)
    assert isinstance(fast, SubgraphSearch)
    fast.recompute_after = 20  # so that the activations are recomputed on the way
    logs = []
    for search in (fast, MaskSearch(topology, measure, removed)):
        with torch.no_grad():
            found = acdc(
                search,
                topology,
                threshold=1e-4,
                order="natural",
                difference="signed",
                candidates=topology.edge_set - removed,
            )
        logs.append(found.decisions)
    assert [(d.edge, d.removed) for d in logs[0]] == [(d.edge, d.removed) for d in logs[1]]
    fast_after, slow_after = ([decision.metric_after for decision in log] for log in logs)
    np.testing.assert_allclose(fast_after, slow_after, atol=1e-9)
