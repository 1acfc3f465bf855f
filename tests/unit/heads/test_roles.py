"""Which roles follow from which numbers."""

from __future__ import annotations

import numpy as np
import pytest

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.criteria import Null
from acdc_pipeline.heads.near_misses import NO_ROLE, describe_head, near_misses
from acdc_pipeline.heads.roles import TOKENS, HeadRole, Measurements, assign_roles, heads_with_role
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.specs.head_scores import ROLES, SCORES, NullKind, metric_key


def grid(*values: float) -> np.ndarray:
    """One layer of heads."""
    return np.array([values])


def null(metric: str, kind: NullKind, high: float, low: float = 0.0) -> Null:
    return Null(metric, kind, low, high, 0.0, 100)


def facts(values: dict[str, np.ndarray], high: float = 0.1, task: str = "ioi") -> Measurements:
    """Measurements whose nulls all end at `high` and -`high`; scores of tasks are on `task`."""
    keyed = {
        metric_key(name, task if SCORES[name].per == "task" else None): (name, grid)
        for name, grid in values.items()
    }
    return Measurements(
        values={key: grid for key, (_, grid) in keyed.items()},
        nulls={
            key: [null(key, kind, high, -high) for kind in SCORES[name].nulls]
            for key, (name, _) in keyed.items()
        },
        answer_logits={TOKENS: 10.0, task: 4.0},
        ioi_like=(task,),
    )


def names(found: list[HeadRole]) -> list[tuple[str, str, str | None]]:
    return [(str(role.node), role.role, role.on) for role in found]


def test_role_needs_its_line_and_every_null():
    values = {"induction": grid(0.39, 0.4, 0.9, 0.0)}
    assert names(assign_roles(facts(values))) == [
        ("a0.h1", "induction", None),
        ("a0.h2", "induction", None),
    ]
    assert names(assign_roles(facts(values, high=0.5))) == [("a0.h2", "induction", None)]
    assert assign_roles(facts(values, high=0.9)) == []


def test_role_whose_null_was_not_measured_is_not_given():
    whole = facts({"induction": grid(1.0)})
    shuffled = Measurements(whole.values, {"induction@1": whole.nulls["induction@1"][:1]})
    assert assign_roles(whole)
    assert assign_roles(shuffled) == []


def test_missing_score_is_no_score_of_zero():
    found = assign_roles(facts({"sink": grid(np.nan, 0.8, 0.7)}))
    assert names(found) == [("a0.h1", "sink", None), ("a0.h2", "sink", None)]
    assert [(role.rank, role.of) for role in found] == [(1, 2), (2, 2)]


def test_heads_with_one_value_share_the_better_place():
    found = assign_roles(facts({"sink": grid(0.8, 0.9, 0.9, 0.7)}))
    assert [role.rank for role in found] == [3, 1, 1, 4]


def test_supporting_scores_add_evidence_and_decide_nothing():
    # a tenth of the answer logit of 10
    values = {"induction": grid(0.9, 0.9, 0.1), "copy_attribution": grid(1.0, 0.9, 5.0)}
    found = assign_roles(facts(values))
    assert [(str(role.node), role.evidence) for role in found] == [
        ("a0.h0", ("attention", "causal")),
        ("a0.h1", ("attention",)),
    ]


def test_copying_and_suppressing_show_in_ranks_of_tokens_and_not_in_eigenvalues():
    """The first copies, the second suppresses; the third only has positive eigenvalues."""
    values = {
        "copy_at_5": grid(0.9, 0.0, 0.1),
        "suppress_at_5": grid(0.0, 0.9, 0.0),
        "ov_copying": grid(0.4, -0.9, 0.99),
    }
    assert names(assign_roles(facts(values))) == [
        ("a0.h0", "copying", None),
        ("a0.h1", "suppressing", None),
    ]
    assert assign_roles(facts(values, high=0.95)) == []


def test_role_of_a_negative_score_has_the_sign_and_the_null_turned_round():
    values = {"direct_effect": grid(0.0, -0.9), "attention_to_answer": grid(0.9, 0.9)}
    values["answer_suppression"] = grid(0.9, 0.9)
    (lowest,) = assign_roles(facts(values))
    assert (str(lowest.node), lowest.role) == ("a0.h1", "copy_suppression")
    assert (lowest.value, lowest.rank) == (-0.9, 1)
    assert assign_roles(facts(values, high=0.95)) == []


MOVER = {
    "direct_effect": grid(0.4, 0.4, 0.3, 2.0, 0.1),
    "answer_reading": grid(0.4, 0.1, 0.3, 2.0, 0.9),
    "attention_to_answer": grid(0.5, 0.1, 0.9, 0.9, 0.4),
    "answer_copying": grid(0.9, 0.9, 0.9, 0.2, 0.9),
}
"""The second does not read the answer, the third does too little, the last adds nothing itself."""


def test_mover_reads_the_answer_and_a_name_mover_raises_and_copies_it_as_well():
    assert names(assign_roles(facts(MOVER))) == [
        ("a0.h0", "name_mover", "ioi"),
        ("a0.h1", "direct_contributor", "ioi"),
        ("a0.h3", "mover", "ioi"),
        ("a0.h4", "mover", "ioi"),
    ]
    # but they count as direct contributors where these are looked for
    direct = heads_with_role(facts(MOVER), "direct_contributor", "ioi")
    assert direct == [head(0, 0), head(0, 1), head(0, 3)]


def test_mover_looks_at_the_answer_in_every_order_where_prompts_have_both():
    """The first looks at a place, which is that of the answer after a wrong one."""
    orders = {
        "attention_to_answer_before": grid(0.02, 0.0, 0.9, 0.9, 0.3),
        "attention_to_answer_after": grid(0.98, 0.2, 0.9, 0.9, 0.5),
    }
    found = assign_roles(facts({**MOVER, **orders}))
    assert names(found) == [
        ("a0.h0", "direct_contributor", "ioi"),
        ("a0.h1", "direct_contributor", "ioi"),
        ("a0.h3", "mover", "ioi"),
        ("a0.h4", "mover", "ioi"),
    ]
    # without any other role it comes near a mover, by that score
    values = {**MOVER, **orders, "direct_effect": grid(0.0, 0.0, 0.0, 0.0, 0.0)}
    measured = facts(values)
    near = [m for m in near_misses(measured, assign_roles(measured)) if m.node == head(0, 0)]
    assert [(m.role, m.metric, m.value, m.line) for m in near] == [
        ("mover", "attention_to_answer_before@1:ioi", 0.02, 0.1)
    ]


def test_name_movers_are_of_ioi_like_tasks_alone():
    other = facts(MOVER)
    plain = Measurements(other.values, other.nulls, other.answer_logits)
    assert {role.role for role in assign_roles(plain)} == {"mover", "direct_contributor"}


def test_model_that_does_not_answer_has_no_movers():
    right = facts(MOVER)
    wrong = Measurements(right.values, right.nulls, {"ioi": -1.0}, ("ioi",))
    assert assign_roles(wrong) == []


def test_roles_of_two_tasks_stand_beside_each_other():
    first, second = facts(MOVER, task="ioi"), facts(MOVER, task="other")
    both = Measurements(
        {**first.values, **second.values},
        {**first.nulls, **second.nulls},
        {"ioi": 4.0, "other": 80.0},
        ("ioi",),
    )
    assert ("a0.h3", "mover", "ioi") in names(assign_roles(both))
    assert not [role for role in assign_roles(both) if role.on == "other"]


def test_every_role_can_be_given_by_the_scores_it_asks_for():
    for name, role in ROLES.items():
        values = {}
        for criterion in role.required:
            value = 100 * criterion.least
            values[criterion.score] = grid(-value if "minus" in criterion.of else value)
        found = assign_roles(facts(values))
        assert name in {given.role for given in found}, name


def test_roles_read_back_from_their_data():
    for role in assign_roles(facts(MOVER)):
        assert HeadRole.from_plain(role.plain()) == role


def test_movers_of_older_profiles_are_direct_contributors():
    """They were given by direct effects alone, whatever the head looked at."""
    (role,) = assign_roles(facts({"direct_effect": grid(0.0, 0.9)}))
    assert role.role == "direct_contributor"
    assert HeadRole.from_plain(role.plain() | {"role": "mover"}) == role


def test_null_is_strict_where_it_has_few_values():
    values = np.array([0.0, 0.1, 0.2, np.nan, 0.9])
    found = Null.of("sink@1", "random weights", values)
    assert found is not None
    assert (found.low, found.high, found.n) == (0.0, 0.9, 4)
    assert found.mean == pytest.approx(0.3)
    many = Null.of("sink@1", "random weights", np.arange(1000) / 1000)
    assert many is not None
    assert (many.low, many.high) == (0.009, 0.99)
    assert Null.of("sink@1", "random weights", np.array([np.nan])) is None


def test_description_names_task_value_rank_and_evidence():
    role = HeadRole(
        Node.parse("a5.h1"),
        "induction",
        None,
        ("attention", "causal"),
        "induction@1",
        0.934,
        2,
        144,
    )
    mover = HeadRole(
        Node.parse("a5.h1"), "mover", "ioi", ("causal",), "direct_effect@1:ioi", 1.5, 1, 144
    )
    assert describe_head([role, mover]) == (
        "Behaves as an induction head on random tokens (0.93, rank 2 of 144; attention, causal); "
        "as a mover on ioi (1.50, rank 1 of 144; causal)."
    )
    assert describe_head([]) == NO_ROLE


def test_interval_holds_the_mean_and_narrows_with_samples():
    rng = np.random.default_rng(0)
    few, many = rng.normal(1.0, 1.0, (16, 1, 2)), rng.normal(1.0, 1.0, (1600, 1, 2))
    widths = []
    for samples in (few, many):
        values = HeadValues.of_samples("induction", samples)
        for row in values.rows("zoo:x", seed=3):
            assert row.metric == "induction@1"
            assert row.n == len(samples)
            assert row.ci_low is not None
            assert row.ci_high is not None
            assert row.ci_low < row.value < row.ci_high
        low, high = values.interval(seed=3)
        assert low is not None
        assert high is not None
        widths.append(float((high - low).mean()))
    # a normal mean's 95 % interval is 3.92 standard errors wide; bootstrap of 1000 is within 15 %
    assert widths[1] == pytest.approx(3.92 / 1600**0.5, rel=0.15)
    assert widths[0] > 5 * widths[1]


def test_rows_leave_out_heads_without_a_value():
    values = HeadValues("ov_copying", np.array([[0.5, np.nan]]))
    (row,) = values.rows("zoo:x", seed=0)
    assert (row.head, row.n, row.ci_low) == (0, 0, None)
