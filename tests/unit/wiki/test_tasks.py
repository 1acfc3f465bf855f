from __future__ import annotations

import numpy as np

from acdc_pipeline.graph import Node
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import ReferenceCircuit
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.scores import Score
from acdc_pipeline.wiki.tasks import Task, find_claims, published_edges
from tests.unit.wiki.test_circuits import SHAPE, series

REFERENCE = ReferenceCircuit.model_validate(
    {
        "model": "zoo:attn-2l",
        "source": "Somebody 2022, arXiv 2211.00593",
        "groups": {"induction": {"heads": [[1, 0], [1, 1]]}, "letter_mover": {"heads": [[0, 1]]}},
        "links": [["letter_mover", "induction", "k"]],
    }
)


def model(ref: str = "zoo:attn-2l", *, profiled: str = "yes") -> Model:
    values = np.array([[0.0, 0.0], [0.9, 0.1]])
    nothing = np.full((2, 2), np.nan)
    score = Score("induction@1", values, nothing, nothing, 50, 0)
    held = HeadRole(
        Node.parse("a1.h0"), "induction", None, ("attention",), "induction@1", 0.9, 1, 4
    )
    return Model(
        ref=ref,
        revision="1" * 40,
        slug="x",
        title=ref,
        n_layers=2,
        n_heads=2,
        d_model=None,
        shape=SHAPE,
        scores={"induction@1": score} if profiled == "yes" else {},
        roles={(1, 0): (held,)} if profiled == "yes" else {},
        near_misses={},
        warnings=(),
        nulls={},
        circuits={"ioi": (series(),)},
        profiles=(),
        profile_ids=(),
        run_ids=(),
        digest="",
        measured="",
    )


TASK = Task("ioi", "ioi", "IOI", reference=REFERENCE)


def verdicts(found, place: tuple[int, int]) -> list[tuple[str, str]]:
    return [(f.verdict, f.text) for claim in found[place] for f in claim.findings]


def test_claim_agrees_where_circuit_and_role_were_found_too():
    found = find_claims(model(), [TASK])
    assert verdicts(found, (1, 0)) == [
        ("agrees", "in the circuit found here, up to τ = 0.1"),
        ("agrees", "behaves as an induction head here (0.9)"),
    ]
    (claim,) = found[1, 0]
    assert claim.text == "in the circuit of ioi, as induction"
    assert claim.url == "https://arxiv.org/abs/2211.00593"


def test_claim_disagrees_where_it_was_looked_for_and_not_found():
    found = find_claims(model(), [TASK])
    assert verdicts(found, (1, 1)) == [
        ("disagrees", "in no circuit found here, down to τ = 0.01"),
        ("disagrees", "does not pass as an induction head here (0.1)"),
    ]


def test_claim_of_a_kind_that_is_none_here_is_about_the_circuit_alone():
    found = find_claims(model(), [TASK])
    assert verdicts(found, (0, 1)) == [("agrees", "in the circuit found here, up to τ = 0.01")]


def test_claim_is_not_tested_where_nothing_was_measured():
    unmeasured = find_claims(model(profiled="no"), [TASK])
    assert verdicts(unmeasured, (1, 0))[1] == (
        "not tested",
        "whether it behaves as an induction head was not measured",
    )


def test_claims_about_another_model_do_not_count():
    assert find_claims(model("zoo:attn-4l"), [TASK]) == {}
    assert published_edges(model("zoo:attn-4l"), TASK) is None


def test_published_edges_are_those_of_the_reference():
    assert published_edges(model(), TASK) == {("a0.h1", "a1.h0", "k"), ("a0.h1", "a1.h1", "k")}
