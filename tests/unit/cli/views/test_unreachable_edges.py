"""What a run says of a share of edges that no circuit can have."""

from __future__ import annotations

import pytest

from acdc_pipeline import Circuit, discover
from acdc_pipeline.cli.views.run import run_facts
from acdc_pipeline.specs.names import Positions


@pytest.mark.parametrize(
    ("positions", "share", "said"),
    [("tokens", 1.0, True), ("tokens", 0.05, False), ("none", 1.0, False)],
)
def test_edges_that_can_reach_no_answer_are_named_where_a_share_takes_in_some(
    positions: Positions, share: float, said: bool
):
    pairs = [{"clean": [5, 6, 7], "corrupted": [8, 6, 7], "correct": 6}]
    found = discover(
        pairs, "zoo:attn-2l", method="eap", metric="nll", share=share, positions=positions
    )
    idle = found.topology.n_edges - len(Circuit.full(found.topology).live_edges)
    text = run_facts(found.run)["edges kept"]
    assert text.endswith(f"; {idle} edges of the graph can reach no answer") == said
    assert ("can reach no answer" in text) == said
