"""Peeling: the same edges as a plain loop removes, within the forwards that are allowed."""

from __future__ import annotations

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from acdc_pipeline.algorithms.nested.circuit_tests import CircuitTests
from acdc_pipeline.algorithms.nested.forwards import Mask
from acdc_pipeline.algorithms.nested.peeling import peel
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.graph import LOGITS
from acdc_pipeline.graph.cut import cut_masks
from acdc_pipeline.graph.search_order import receivers_backwards, sources_backwards
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.scoring import problem_of
from tests.support import REPOSITORY


def bench_of(name: str, task: str, n: int) -> Bench:
    loaded = load_model(f"zoo:{name}", dtype="float64", device="cpu")
    assert loaded.tokenizer is not None
    prompts = make_prompts(find_task(task, REPOSITORY), loaded.tokenizer, n=n, seed=0)
    return set_up(loaded.weights, prompts, "corrupted")


def peeled_plainly(tests: CircuitTests, mask: Mask, threshold: float) -> Mask:
    """Edge by edge, each circuit run whole; edges into nodes that nothing reads are removed."""
    topology, out = tests.topology, mask.copy()
    sources = np.array([topology.source_index[edge.src] for edge in topology.edges])
    loss = tests.test([out])[0].loss
    for receiver in receivers_backwards(topology, "natural"):
        first = topology.first_edge[receiver]
        own = topology.source_index.get(receiver.node)
        is_read = receiver.node == LOGITS or bool(out[sources == own].any())
        for source in sources_backwards(topology, receiver, "natural"):
            at = first + topology.source_index[source]
            if not is_read:
                out[at] = False
            if not out[at]:
                continue
            without = out.copy()
            without[at] = False
            after = tests.test([without])[0].loss
            if after - loss < threshold:
                out, loss = without, after
    return out


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_peeled_circuit_is_that_of_a_plain_loop(share: float):
    bench = bench_of("attn-2l", "induction", n=4)
    tests, topology = CircuitTests(problem_of(bench, "kl")), bench.weights.topology
    scores = np.abs(tests.along_path(2).inputs)
    (mask,) = cut_masks(topology, scores, [topology.n_edges // 6], "signed")
    threshold = share * tests.test([np.zeros_like(mask)])[0].loss
    spent = tests.spent
    with FlopCounterMode(display=False) as counter:
        found = peel(tests, mask, threshold, limit=1000.0)
    with FlopCounterMode(display=False) as of_two:
        set_up(bench.weights, bench.prompts, "corrupted")
    took = 2 * counter.get_total_flops() / of_two.get_total_flops()
    assert found is not None
    assert found.complete
    assert 0.75 * took < tests.spent - spent < took  # attention and sums of edges are not counted
    np.testing.assert_array_equal(found.mask, peeled_plainly(tests, mask, threshold))
    assert (found.effects[found.mask] >= threshold).all()
    assert np.isnan(found.effects[~mask]).all()


def test_of_paths_that_stand_in_for_one_another_one_is_kept():
    bench = bench_of("compiled-or", "compiled_or", n=16)
    tests = CircuitTests(problem_of(bench, "kl"))
    found = peel(tests, np.ones(tests.topology.n_edges, dtype=bool), 1e-3, limit=1000.0)
    assert found is not None
    kept = frozenset(tests.topology.edges_in(found.mask))
    assert kept in [frozenset(one) for one in compiled.alternatives("compiled-or")]


def test_search_ends_when_its_forwards_are_spent_and_keeps_what_it_did_not_test():
    bench = bench_of("attn-2l", "induction", n=4)
    tests = CircuitTests(problem_of(bench, "kl"))
    whole = np.ones(tests.topology.n_edges, dtype=bool)
    found = peel(tests, whole, 1e-3, limit=4.0)
    assert found is not None
    assert not found.complete
    assert tests.spent <= 4.0
    untested = np.isnan(found.effects)
    assert untested.any()
    assert found.mask[untested].all()
