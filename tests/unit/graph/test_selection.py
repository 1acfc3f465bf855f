"""Circuits selected from scores: by hand, and against every circuit of a small graph."""

from __future__ import annotations

import math
from functools import cache
from itertools import compress, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.graph import Circuit, Topology, integer_program
from acdc_pipeline.graph.integer_program import best_circuit
from acdc_pipeline.graph.selection import Selection
from tests.strategies import scores

# One head a layer: input -> a0 -> a1 -> logits, and every shortcut. 12 edges, 4,096 sets of them.
CHAIN = Topology(2, 1, has_mlp=False)


@cache
def connected() -> np.ndarray:
    """Every set of edges of `CHAIN` of which each is on a path from `input` to `logits`."""
    every = (np.array(bits, dtype=bool) for bits in product((False, True), repeat=12))
    return np.array([m for m in every if _all_live(m)])


def _all_live(mask: np.ndarray) -> bool:
    edges = frozenset(compress(CHAIN.edges, mask))
    return Circuit(CHAIN, edges).live_edges == edges


@settings(max_examples=40)
@given(
    drawn=st.lists(scores() | st.just(0.0), min_size=12, max_size=12),
    size=st.integers(1, 12),
    rank=st.sampled_from(("magnitude", "signed")),
    share=st.sampled_from((0.0, 0.5, 1.0)),
)
def test_integer_program_is_the_best_of_all_circuits_of_a_size(drawn, size, rank, share):
    pytest.importorskip("scipy", reason="needs the extra ilp")
    values = np.array(drawn)
    worth = np.abs(values) if rank == "magnitude" else values
    quota = min(math.ceil(share * size), int((values > 0).sum()))
    of_size = connected()[connected().sum(1) == size]
    allowed = of_size[(of_size & (values > 0)).sum(1) >= quota]
    found = best_circuit(CHAIN, values, size, rank, share)
    mask = found.mask
    assert found.gap == 0
    assert _all_live(mask)
    assert mask.sum() == size
    if len(allowed):
        assert (mask & (values > 0)).sum() >= quota
        best = max(worth[m].sum() for m in allowed)
        assert worth[mask].sum() == pytest.approx(best, abs=1e-5 * np.abs(worth).max())


def names(mask: np.ndarray) -> set[str]:
    return {str(edge) for edge in compress(CHAIN.edges, mask)}


def test_positive_share_takes_the_best_positive_edge_whenever_too_few_were_taken():
    by_name = {
        "a1.h0->logits": -9.0, "input->a1.h0<q>": -8.0, "input->a1.h0<v>": -7.0,
        "input->logits": 2.0, "a0.h0->logits": 1.0, "input->a0.h0<k>": 0.5,
    }  # fmt: skip
    values = np.array([by_name.get(str(edge), np.nan) for edge in CHAIN.edges])

    def kept(share: float, size: int) -> set[str]:
        return names(Selection("magnitude", positive_share=share).masks(CHAIN, values, [size])[0])

    negative = {"a1.h0->logits", "input->a1.h0<q>"}
    assert kept(0.0, 2) == negative
    assert kept(0.0, 4) == negative | {"input->a1.h0<v>", "input->logits"}
    # + - + - + -: the third positive edge completes the path through a0
    assert kept(0.5, 1) == {"input->logits"}
    assert kept(0.5, 5) == negative | {"input->logits", "a0.h0->logits", "input->a0.h0<k>"}
    # all positive edges first
    assert kept(1.0, 3) == {"input->logits", "a0.h0->logits", "input->a0.h0<k>"}


@given(
    drawn=st.lists(scores(), min_size=12, max_size=12),
    size=st.integers(1, 12),
    share=st.sampled_from((0.3, 0.5, 1.0)),
)
def test_positive_share_of_connected_edges_is_kept_and_small_circuits_are_in_larger_ones(
    drawn, size, share
):
    values = np.array(drawn)
    smaller, larger = Selection("magnitude", positive_share=share).masks(
        CHAIN, values, [size, min(12, size + 1)]
    )
    assert _all_live(smaller)
    assert not (smaller & ~larger).any()


def test_selection_after_a_filter_leaves_out_edges_of_score_0():
    values = np.zeros(12)
    values[CHAIN.edge_index(CHAIN.edge_of("input->logits"))] = 1.0
    (mask,) = Selection("magnitude", filtered=True).masks(CHAIN, values, [5])
    assert names(mask) == {"input->logits"}
    assert Selection("magnitude").masks(CHAIN, values, [5])[0].sum() == 5


def test_integer_program_finds_the_path_that_greed_misses():
    pytest.importorskip("scipy", reason="needs the extra ilp")
    # The way into a0 comes too late: by then a1 has been filled up.
    by_name = {
        "a1.h0->logits": 5.0, "a0.h0->a1.h0<v>": 4.9, "input->a1.h0<q>": 3.0,
        "input->a1.h0<k>": 1.0, "input->a0.h0<q>": 0.5,
    }  # fmt: skip
    values = np.array([by_name.get(str(edge), 0.0) for edge in CHAIN.edges])
    (greedy,) = Selection("signed").masks(CHAIN, values, [3])
    (best,) = Selection("signed", "ilp").masks(CHAIN, values, [3])
    assert names(greedy) == {"a1.h0->logits", "input->a1.h0<q>", "input->a1.h0<k>"}
    assert names(best) == {"a1.h0->logits", "a0.h0->a1.h0<v>", "input->a0.h0<q>"}


def test_integer_program_over_few_edges_at_first_bounds_what_it_may_miss(
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("scipy", reason="needs the extra ilp")
    monkeypatch.setattr(integer_program, "MOST_OPEN", 1)
    gaps = []
    for seed in range(20):
        values = np.random.default_rng(seed).standard_t(2, 12)
        found = best_circuit(CHAIN, values, 4, "magnitude")
        of_size = connected()[connected().sum(1) == 4]
        best = max(np.abs(values[m]).sum() for m in of_size)
        ours = np.abs(values[found.mask]).sum()
        assert _all_live(found.mask)
        assert best * (1 - 1e-6) <= ours / (1 - found.gap)
        gaps.append(found.gap)
    assert min(gaps) == 0
