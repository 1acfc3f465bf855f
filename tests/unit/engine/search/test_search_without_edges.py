"""A search from the model without some edges decides as one that runs every circuit whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.algorithms.consensus import Mask
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.engine.search.model_search import ChangeSearch
from acdc_pipeline.engine.search.positional_coupled import PositionalCoupledSearch
from acdc_pipeline.engine.search.positional_search import PositionalSearch
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.evaluation import measure_circuits, objective_for
from acdc_pipeline.graph import Edge
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests import tiny_models
from tests.oracles.mask_search import MaskSearch
from tests.prompt_sets import random_prompts

NAMES = [
    ("input->a1.h0<k>", "a0.h1->a1.h0<q>", "a0.h0->m1"),
    ("a1.h1->logits", "m0->logits", "input->a0.h0<v>", "m0->a1.h1<v>"),
]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(
    ("model", "kind", "spilled"),
    [
        ("gpt2", SubgraphSearch, False),
        ("gpt2", SubgraphSearch, True),
        ("neox", SubgraphSearch, False),
        ("gemma2", CoupledSearch, False),
    ],
)
def test_decisions_are_those_of_whole_circuits(
    model: str, kind: type[Search[Any]], spilled: bool, names: tuple[str, ...]
):
    weights = tiny_models.weights(model)
    prompts = random_prompts(3, 5, weights.w_e.shape[0])
    bench = set_up(weights, prompts, "corrupted", memory=1 if spilled else None)
    assert (bench.spill is not None) == spilled
    compare(bench, frozenset(map(Edge.parse, names)), kind)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(
    ("model", "kind"), [("gpt2", PositionalSearch), ("gemma2", PositionalCoupledSearch)]
)
def test_decisions_in_spans_are_those_of_whole_circuits(
    model: str, kind: type[Search[Any]], names: tuple[str, ...]
):
    weights = tiny_models.weights(model)
    rows = [["a", "b", "b", "a"], ["b", "a", "a"]]
    prompts = random_prompts(2, 4, weights.w_e.shape[0], 1, [4, 3])
    spans = with_answers(spans_from_names(rows, 4), prompts.answer_row, prompts.answer_pos)
    bench = set_up(weights, replace(prompts, spans=spans), "corrupted")
    topology = bench.weights.topology
    removed = {edge for edge in topology.edges if edge.span == "a" and _spanless(edge) in names}
    assert removed
    compare(bench, frozenset(removed), kind)


def _spanless(edge: Edge) -> str:
    return str(edge).partition("@")[0]


def compare(bench: Bench, removed: frozenset[Edge], kind: type[Search[Any]]) -> None:
    """Search without some edges, and by whole circuits: the decisions and values are the same."""
    topology = bench.weights.topology

    def measure(masks: Sequence[Mask]) -> list[float]:
        return [values["kl"] for values in measure_circuits(bench, masks, ["kl"])]

    fast = bench.search_without(removed, objective_for(bench, "kl"), memory=2**28)
    assert isinstance(fast, kind)
    if isinstance(fast, ChangeSearch):
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
