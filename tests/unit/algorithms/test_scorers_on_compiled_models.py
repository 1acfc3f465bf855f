"""Methods that score edges, on models whose circuit is known."""

from __future__ import annotations

from functools import cache

import pytest

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from acdc_pipeline.specs.names import Ablation
from tests.scoring import scores_of
from tests.support import REPOSITORY

REDUNDANT = [name for name in compiled.list_compiled() if len(compiled.alternatives(name)) > 1]
PLAIN = [name for name in compiled.list_compiled() if name not in REDUNDANT]


@cache
def bench_of(name: str, ablation: Ablation = "corrupted") -> Bench:
    model = load_model(f"zoo:{name}", dtype="float32", device="cpu")
    assert model.tokenizer is not None
    task = find_task(compiled.task_of(name), REPOSITORY)
    return set_up(model.weights, make_prompts(task, model.tokenizer, n=16, seed=0), ablation)


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
@pytest.mark.parametrize("name", PLAIN)
def test_exact_without_redundancy_puts_the_true_edges_before_all_others(
    name: str, ablation: Ablation
):
    bench = bench_of(name, ablation)
    scores = scores_of("exact", bench, metric="kl", ablation=ablation)
    truth = compiled.truth(name, ablation)
    true = [scores[str(edge)] for edge in truth]
    others = [s for edge, s in scores.items() if Edge.parse(edge) not in truth]
    # Losing a true edge costs log 2 or more; what it costs to lose another is rounding.
    assert min(true) > 0.5
    assert max(map(abs, others)) < 1e-6


@pytest.mark.parametrize("name", PLAIN)
def test_exact_circuit_of_the_true_size_is_the_true_one(name: str):
    bench = bench_of(name)
    truth = compiled.true_circuit(name).live_edges
    scores = scores_of("exact", bench, metric="kl")
    by_edge = {Edge.parse(edge): score for edge, score in scores.items()}
    found = cut(bench.weights.topology, by_edge, edges=len(truth), rank="magnitude")
    assert found.edges == truth


@pytest.mark.parametrize("name", ["compiled-or"])
def test_exact_sees_nothing_of_two_paths_either_of_which_suffices(name: str):
    scores = scores_of("exact", bench_of(name), metric="kl")
    shared = frozenset.intersection(*compiled.alternatives(name))
    for edge in compiled.truth(name) - shared:
        assert abs(scores[str(edge)]) < 1e-6
