"""A consensus in drawings, on the page of its circuit, and in the table of its edges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.cli.views.consensus import consensus_facts, edge_columns
from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.consensus import Consensus, OrGroup, majority, wilson_interval
from acdc_pipeline.plotting.circuit import draw_circuit

FIRST = tuple(map(Edge.parse, ("input->a0.h0<v>", "a0.h0->logits")))
SECOND = tuple(map(Edge.parse, ("input->a0.h1<v>", "a0.h1->logits")))
ALWAYS = Edge.parse("input->logits")
GRAPH = Topology(1, 2, has_mlp=False)
AGREED = Consensus(
    searches=20,
    line=0.5,
    kept={ALWAYS: 20, **dict.fromkeys(FIRST, 12), **dict.fromkeys(SECOND, 8)},
    roles={ALWAYS: "necessary", **dict.fromkeys((*FIRST, *SECOND), "alternative")},
    groups=(OrGroup((FIRST, SECOND), (0.001, 0.0), 2.5),),
)
FOUND = Circuit.of(GRAPH, majority(AGREED), {edge: AGREED.share(edge) for edge in GRAPH.edges})


def test_wilson_interval_is_that_of_a_worked_example():
    """Brown, Cai & DasGupta 2001: solutions of (p - x)² = z² x (1 - x) / n."""
    low, high = wilson_interval(18, 20)
    for end in (low, high):
        assert np.isclose((0.9 - end) ** 2, 1.959963984540054**2 * end * (1 - end) / 20)
    assert wilson_interval(20, 20)[1] == 1.0
    assert wilson_interval(0, 20)[0] == 0.0


def test_majority_has_one_of_two_alternatives_at_any_line():
    assert FOUND.edges == {ALWAYS, *FIRST}
    assert majority(replace(AGREED, line=0.9)) == {ALWAYS, *FIRST}
    assert majority(replace(AGREED, line=0.3)) == {ALWAYS, *FIRST, *SECOND}


def test_consensus_as_data_and_back_is_the_same():
    assert Consensus.from_dict(AGREED.as_dict()) == AGREED


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("searches",), 0, "number of searches"),
        (("searches",), 2.5, "number of searches"),
        (("line",), 1.5, "no share"),
        (("edges", 0, "kept"), 21, "21 of 20 searches"),
        (("edges", 0, "kept"), True, "searches kept it"),
        (("edges", 0, "role"), "probable", "'probable' is no role"),
        (("edges", 0, "edge"), "a0.h0->logits", "twice"),
        (("edges", 1, "edge"), "a0.h1->a0.h1<q>", "no entry names"),
        (("or_groups", 0, "others_removed"), [0.1], "cost for each set"),
        (("or_groups", 0, "all_removed"), "much", "cost of all sets"),
        (("or_groups", 0, "alternatives", 1), [], "no entry names"),
    ],
)
def test_consensus_that_cannot_be_is_refused(place: tuple[Any, ...], value: Any, problem: str):
    document = json.loads(json.dumps(AGREED.as_dict()))
    inside = document
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    with pytest.raises((GraphError, KeyError), match=problem):
        Consensus.from_dict(document)


def test_drawing_shows_shares_and_both_alternatives():
    text = draw_circuit(FOUND, title="either", consensus=AGREED)
    assert text.count('<path class="edge v or"') == text.count('<path class="edge r or" d="M') - 1
    assert "input-&gt;a0.h1&lt;v&gt;  in 8 of 20 circuits" in text
    assert "share of searches" in text
    assert "3 of 9 edges kept" in text
    caption = text[: text.index(">")]
    assert "Alternatives outside of it: 2 edges and 1 node." in caption
    assert " or" not in draw_circuit(FOUND, title="either").replace("MLP or logits", "")


def test_facts_and_columns_name_the_alternatives():
    facts = consensus_facts(AGREED, {"sizes": [3, 3], "jaccard": 0.5})
    assert facts["edges"] == "1 necessary, 4 alternative, 0 accidental, 0 uncertain"
    assert "a0.h0->logits} (kept by 12 of 20) or {" in facts["OR group 1"]
    assert "a0.h1->logits} (kept by 8 of 20); removing" in facts["OR group 1"]
    assert edge_columns(AGREED, SECOND[0]) == {
        "kept": "8 of 20",
        "interval": "0.22 to 0.61",
        "role": "OR group 1",
    }
