"""A consensus has the shares of independent searches, and names what stands in for what."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution import consensus_run
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, NoCheckpoint
from acdc_pipeline.execution.consensus_run import Elsewhere, FoundConsensus, find_consensus
from acdc_pipeline.execution.consensus_searches import ConsensusSearches, Log
from acdc_pipeline.graph import Decision
from acdc_pipeline.graph.search_order import RandomOrder
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.prompt_set import pick_prompts
from acdc_pipeline.specs import AcdcMethod
from acdc_pipeline.specs.names import Ablation
from tests import tiny_models
from tests.compiled_bench import compiled_bench
from tests.prompt_sets import random_prompts

NAMES = compiled.list_compiled()
REDUNDANT = tuple(name for name in NAMES if len(compiled.alternatives(name)) > 1)


def method(threshold: float, consensus: int, ablation: Ablation = "corrupted") -> AcdcMethod:
    return AcdcMethod(
        name="acdc",
        threshold=threshold,
        metric="kl",
        ablation=ablation,
        order="reverse-heads",
        difference="signed",
        consensus=consensus,
    )


def consensus_of(bench: Bench, chosen: AcdcMethod) -> FoundConsensus:
    return find_consensus(ConsensusSearches(bench, chosen, seed=0, memory=2**28))


def independent_circuits(bench: Bench, chosen: AcdcMethod) -> list[frozenset[object]]:
    """The circuits of searches that share nothing, on prompts that repeat row by row."""
    weights, n = bench.weights, len(bench.prompts)
    found = []
    for number in range(chosen.consensus):
        rows = list(range(n))
        if number:
            rows = random.Random(f"consensus 0 {number}").choices(range(n), k=n)
        alone = set_up(weights, pick_prompts(bench.prompts, rows), chosen.ablation)
        order = RandomOrder(f"consensus 0 {number}") if number else chosen.order
        with torch.no_grad():
            result = acdc(
                alone.search(objective_for(alone, "kl"), memory=2**28),
                weights.topology,
                threshold=chosen.threshold,
                order=order,
                difference=chosen.difference,
            )
        found.append(result.circuit.edges)
    return found


@pytest.mark.parametrize(
    ("name", "ablation", "threshold"),
    [("gpt2", "mean", 1e-4), ("gemma2", "corrupted", 0.01)],
)
def test_shares_are_those_of_searches_that_share_nothing(
    name: str, ablation: Ablation, threshold: float
):
    weights = tiny_models.weights(name)
    prompts = random_prompts(6, 7, weights.w_e.shape[0])
    bench = set_up(weights, prompts, ablation)
    chosen = method(threshold, 5, ablation)
    found = consensus_of(bench, chosen)
    alone = independent_circuits(bench, chosen)
    assert len(set(alone)) > 1, "the searches have to differ for this to test anything"
    for edge in weights.topology.edges:
        share = sum(edge in circuit for circuit in alone) / len(alone)
        assert found.consensus.share(edge) == share == found.circuit.scores[edge]
    assert found.details["consensus"]["sizes"] == [len(circuit) for circuit in alone]


class Saved(NoCheckpoint):
    """Keeps what is offered, and gives the decisions that it was made with."""

    def __init__(self, given: Log = ()) -> None:
        self.given, self.offered = given, list[Log]()

    def load(self, conditions: Mapping[str, str]) -> Log:
        return self.given

    def offer(self, decisions: Sequence[Decision], conditions: Mapping[str, str]) -> None:
        self.offered.append(tuple(decisions))


def test_interrupted_consensus_keeps_finished_searches(monkeypatch):
    monkeypatch.setattr(consensus_run, "GROUP", 2)
    weights = tiny_models.weights("gpt2")
    bench = set_up(weights, random_prompts(3, 4, weights.w_e.shape[0]), "corrupted")
    whole, tested = Saved(), list[Decision]()

    def find(saved: Saved, elsewhere: Elsewhere | None = None) -> FoundConsensus:
        tested.clear()
        searches = ConsensusSearches(bench, method(1e-3, 6), 0, 2**28, tested.append)
        return find_consensus(searches, BoundCheckpoint(saved, {}), elsewhere)

    found = find(whole)
    assert [sum(d.step == 0 for d in log) for log in whole.offered] == [1, 2, 4, 6]
    counts = [len(tested)]
    for offered in whole.offered:
        again = find(Saved(offered))
        assert (again.consensus, again.details) == (found.consensus, found.details)
        counts.append(len(tested))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] == len(whole.offered[-1])

    def elsewhere(numbers: Sequence[int], first: Log) -> Future[list[Log]]:
        other = ConsensusSearches(bench, method(1e-3, 6), 0, 2**28)
        result: Future[list[Log]] = Future()
        result.set_result(other.run_group(numbers, first))
        return result

    spread = find(Saved(), elsewhere)
    assert (spread.consensus, spread.details) == (found.consensus, found.details)
    assert len(tested) == counts[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REDUNDANT])
def test_without_redundancy_every_true_edge_is_necessary_and_no_other_is_kept(name: str):
    agreed = consensus_of(compiled_bench(name), method(0.01, 6)).consensus
    assert set(agreed.having("necessary")) == set(agreed.kept) == compiled.truth(name)
    assert agreed.groups == ()


@pytest.mark.parametrize("name", REDUNDANT)
def test_redundant_paths_are_alternatives_of_each_other(name: str):
    found = consensus_of(compiled_bench(name), method(0.01, 20))
    agreed, paths = found.consensus, compiled.alternatives(name)
    common = frozenset.intersection(*paths)
    (group,) = agreed.groups
    assert set(map(frozenset, group.alternatives)) == {path - common for path in paths}
    assert set(agreed.having("necessary")) == common
    assert set(agreed.having("alternative")) == compiled.truth(name) - common
    assert found.circuit.edges in paths
    assert max(group.others_removed) < 0.01 < group.all_removed
