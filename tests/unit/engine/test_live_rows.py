"""The rows that a removal can change and an answer can see, and removals computed on them alone."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import run_circuits, set_up
from acdc_pipeline.engine.live_rows import find_live_rows
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.graph import Edge
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.names import Ablation
from tests.attention_models import KINDS, VOCAB, build
from tests.oracles.hybrid import hybrid_weights
from tests.prompt_sets import random_prompts

LENGTHS = [6, 4, 5]
BEGINNINGS = [2, 3, 0]
"""Tokens that both runs of a prompt begin with."""


def prompts_with_beginnings() -> PromptSet:
    """Three prompts of different lengths, the second with answers at two positions."""
    drawn = random_prompts(3, 6, VOCAB, seed=7, lengths=LENGTHS)
    corrupted = (drawn.clean + 1) % VOCAB
    for row, same in enumerate(BEGINNINGS):
        corrupted[row, :same] = drawn.clean[row, :same]
    return replace(
        drawn,
        corrupted=corrupted,
        answer_row=torch.tensor([0, 1, 1, 2]),
        answer_pos=torch.tensor([4, 1, 3, 4]),
        correct=((0,), (1,), (2,), (3,)),
        incorrect=((1,), (2,), (3,), (4,)),
    )


def causal() -> TransformerWeights:
    return hybrid_weights(("am", "am"))


def bidirectional() -> TransformerWeights:
    weights = causal()
    blocks = tuple(
        replace(block, attn=replace(block.attention, direction="bidirectional"))
        for block in weights.blocks
    )
    return replace(weights, blocks=blocks)


def test_live_rows_are_those_from_the_first_difference_to_the_last_answer():
    rows = find_live_rows(set_up(causal(), prompts_with_beginnings(), "corrupted"))
    # The answer at position 1 of the second prompt stands before anything that differs.
    found = [divmod(int(row), 6) for row in rows.index]
    expected = {0: [2, 3, 4], 1: [1, 3], 2: [0, 1, 2, 3, 4]}
    assert found == [(row, pos) for row, at in expected.items() for pos in at]
    assert [found[place] for place in rows.answers] == [(0, 4), (1, 1), (1, 3), (2, 4)]

    stream = torch.arange(36.0).view(2, 3, 6, 1)
    packed = rows.pack(stream)
    assert packed[0, :, 0].tolist() == rows.index.tolist()
    back = rows.unpack(-packed, stream[0])
    live = torch.zeros(18, dtype=torch.bool)
    live[rows.index] = True
    assert torch.equal(back[1].flatten()[live], -stream[1].flatten()[live])
    assert torch.equal(back[1].flatten()[~live], stream[0].flatten()[~live])


def test_without_corrupted_prompts_every_row_before_the_answer_is_live():
    rows = find_live_rows(set_up(causal(), prompts_with_beginnings(), "zero"))
    assert len(rows.index) == 5 + 4 + 5


def test_all_rows_are_live_where_attention_looks_forward():
    prompts = random_prompts(2, 6, VOCAB, seed=1)
    prompts = replace(prompts, answer_pos=torch.tensor([3, 4]))
    assert len(find_live_rows(set_up(bidirectional(), prompts, "corrupted")).index) == 12


MODELS = {
    **{f"attention {kind}": lambda kind=kind: build(kind) for kind in KINDS},
    "mixers": lambda: hybrid_weights(("am", "rm", "arm", "r"), norm="layer", bias=True),
    "mlp last": lambda: hybrid_weights(("a", "m", "am", "m", "m")),
    "parallel": lambda: hybrid_weights(("arm", "am"), parallel=True),
    "coupled": lambda: hybrid_weights(("am", "r", "arm"), post=True),
    "without attention": lambda: hybrid_weights(("m", "m")),
}


CASES: list[tuple[str, Ablation]] = [(name, "corrupted") for name in MODELS]


@pytest.mark.parametrize(("name", "ablation"), [*CASES, ("mixers", "zero"), ("coupled", "zero")])
def test_removals_are_what_circuits_without_the_edge_or_node_say(name: str, ablation: Ablation):
    weights, prompts = MODELS[name](), prompts_with_beginnings()
    bench = set_up(weights, prompts, ablation)
    topology, objective, draw = weights.topology, objective_for(bench, "kl"), Random(0)
    removals = SingleRemovals(bench, objective, memory=10**5)
    found: list[tuple[list[Edge], float]] = []
    with torch.no_grad():
        for receiver in topology.receivers:
            values = list(removals.without_edges(receiver))
            found += [([edge], value) for edge, value in draw.sample(values, min(2, len(values)))]
        for source, _, value in removals.without_nodes():
            found.append(([edge for edge in topology.edges if edge.src == source], value))
        masks = np.ones((len(found), topology.n_edges), dtype=bool)
        for mask, (removed, _) in zip(masks, found, strict=True):
            mask[[topology.edges.index(edge) for edge in removed]] = False
        finals = run_circuits(weights, prompts.clean, bench.ablated, masks)
        expected = objective(bench.layout.at_answers(finals.flatten(1, 2)))
    assert max(value for _, value in found) > 1e-3
    np.testing.assert_allclose([value for _, value in found], expected, rtol=1e-9, atol=1e-12)
