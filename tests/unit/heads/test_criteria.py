"""When a score passes: line, nulls, other heads of the model; and what is said when it fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acdc_pipeline.graph import head
from acdc_pipeline.heads.criteria import LEAST_OTHERS, CriterionCheck, Null, are_outliers
from acdc_pipeline.heads.model_profile import Amounts, ModelProfile, profile_model
from acdc_pipeline.heads.near_misses import NearMiss, describe_head, near_misses, profile_warnings
from acdc_pipeline.heads.roles import TOKENS, HeadRole, Measurements, assign_roles
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.head_scores import HEADROOM, OUTLIER, ROLES, SCORES, metric_key
from tests.hand_built import Head, Stream

MEMORY = 1 << 28
STREAM = Stream(vocab=33, positions=65)
PERIOD = 16


def judged(*values: float, null: float = 0.1, bound: float | None = 1.0) -> CriterionCheck:
    return CriterionCheck.of(
        np.array([values]), line=0.4, floor=0.2, nulls=[(null, 0.0), (0.0, 0.0)], bound=bound
    )


def test_value_over_the_line_passes_and_one_below_needs_to_stand_out():
    #               passes, stands out, among the others
    found = judged(0.45, 0.36, 0.06, 0.05, 0.04, 0.07)
    assert found.passed.tolist() == [[True, True, False, False, False, False]]


def test_value_at_the_end_of_a_run_of_values_does_not_stand_out():
    """Others of 0.02 … 0.18: median 0.10, median deviation 0.04, so 0.1 + 3.5 · 1.4826 · 0.04."""
    others = (0.02, 0.06, 0.10, 0.14, 0.18)
    assert judged(0.30, *others).passed.tolist() == [[False] * 6]
    assert judged(0.32, *others).passed.tolist() == [[True] + [False] * 5]


def test_value_below_the_floor_never_passes():
    assert not judged(0.19, 0.0, 0.0, 0.0, 0.0).passed.any()


def test_value_below_the_line_has_to_be_clear_of_the_nulls():
    """A null of 0.15 about a mean of 0: twice as far from it is 0.3."""
    assert judged(0.31, 0.0, 0.0, 0.0, null=0.15).passed.tolist() == [[True, False, False, False]]
    assert not judged(0.29, 0.0, 0.0, 0.0, null=0.15).passed.any()
    assert judged(0.41, 0.0, 0.0, 0.0, null=0.39).passed.any()


def test_half_of_the_heads_may_stand_out_and_most_of_them_may_not():
    assert judged(*[0.36] * 3, 0.01, 0.02, 0.03).passed.tolist() == [[True] * 3 + [False] * 3]
    assert not judged(*[0.36] * 4, 0.01, 0.02, 0.03).passed.any()


def test_nothing_stands_out_from_fewer_others_than_say_how_heads_differ():
    few = np.zeros(LEAST_OTHERS - 1)
    assert not are_outliers(np.array([[5.0]]), few).any()
    assert are_outliers(np.array([[5.0, np.nan]]), np.zeros(LEAST_OTHERS)).tolist() == [
        [True, False]
    ]


def test_spread_of_mostly_equal_others_is_their_mean_deviation():
    """Of 0, 0, 0, 0.4 the median deviation is 0 and the mean one 0.1."""
    others = np.array([0.0, 0.0, 0.0, 0.4])
    limit = OUTLIER * 1.2533 * 0.1
    values = np.array([[limit - 0.01, limit + 0.01]])
    assert are_outliers(values, others).tolist() == [[False, True]]


def test_null_past_the_line_raises_it_and_takes_the_floor_away():
    found = judged(0.65, 0.67, 0.3, 0.0, 0.0, 0.0, null=0.5)
    assert found.line == pytest.approx(0.5 + HEADROOM * 0.5)
    assert found.passed.tolist() == [[False, True, False, False, False, False]]
    assert found.reason(0.65) == "null reaches the line"


def test_null_near_the_bound_lets_no_head_pass():
    found = judged(1.0, 0.82, null=0.955)
    assert found.saturated
    assert not found.passed.any()
    assert found.reason(0.82) == "null saturates"


def test_score_without_a_bound_has_room_above_any_null():
    found = judged(9.0, 11.0, null=10.0, bound=None)
    assert found.passed.tolist() == [[False, True]]


def measured_scores(name: str, values: list[float], high: float) -> Measurements:
    key = metric_key(name)
    nulls = [Null(key, kind, 0.0, high, 0.0, 256) for kind in SCORES[name].nulls]
    return Measurements({key: np.array([values])}, {key: nulls}, {TOKENS: 10.0})


def test_near_miss_describes_its_line_its_null_and_the_reason():
    measured = measured_scores("induction", [0.36, 0.02, 0.08, 0.14, 0.19], 0.06)
    assert assign_roles(measured) == []
    (miss,) = near_misses(measured, [])
    assert miss.describe() == "near miss: induction 0.36, line 0.40, null 0.06"
    assert (miss.node, miss.role, miss.reason) == (head(0, 0), "induction", "below the line")
    assert NearMiss.from_plain(miss.plain()) == miss
    assert describe_head([], miss).endswith("Near miss: induction 0.36, line 0.40, null 0.06.")


def test_best_head_of_a_model_without_the_role_is_near_and_chance_is_not():
    assert [m.node for m in near_misses(measured_scores("induction", [0.12, 0.11], 0.06), [])] == [
        head(0, 0)
    ]
    assert near_misses(measured_scores("induction", [0.12, 0.11], 0.2), []) == []
    assert near_misses(measured_scores("induction", [0.09, 0.08], 0.06), []) == []


def test_head_with_a_role_is_no_near_miss_of_another():
    measured = measured_scores("induction", [0.36, 0.02, 0.08, 0.14, 0.19], 0.06)
    held = HeadRole(head(0, 0), "sink", None, ("attention",), "sink@1", 0.9, 1, 5)
    assert near_misses(measured, [held]) == []


def test_short_context_and_nulls_that_reach_lines_are_warned_of():
    measured = measured_scores("induction", [0.82, 0.2], 0.825)
    assert assign_roles(measured) == []
    (miss,) = near_misses(measured, [])
    assert miss.reason == "null reaches the line"
    short, raised = profile_warnings(measured, period=2, n_ctx=8)
    assert "repeat after only 2 (a context of 8 positions)" in short
    assert "induction@1 (0.82, past 0.40; the line is 0.88)" in raised
    (saturated,) = profile_warnings(measured_scores("induction", [0.2], 0.96), period=16, n_ctx=64)
    assert "induction@1 (0.96 of 1; no head can be an induction head)" in saturated
    assert profile_warnings(measured_scores("induction", [0.2], 0.1), period=16, n_ctx=64) == []
    assert len(profile_warnings(Measurements(), period=None, n_ctx=4)) == 1


def diluted(sharpness: float) -> Head:
    """An induction head whose queries are too weak to look at one place alone."""
    whole = STREAM.matching("copy")
    return replace(whole, q=STREAM.reads("token", sharpness))


def diluted_model() -> TransformerWeights:
    """Heads 1.1 to 1.3 match the token before each key, with scores of 2.55 to 2.65.

    One key of the n - 1 or so that a query sees matches: e^2.6 / (e^2.6 + n - 2) is 0.46 at n = 18,
    0.31 at n = 32. Head 1.0 writes nothing and looks everywhere alike: 1/n.
    """
    first = [
        STREAM.offset(1, writes="copy"),
        STREAM.uniform(),
        replace(STREAM.uniform(), o=STREAM.writes("out", -1.0)),
        STREAM.idle(),
    ]
    second = [STREAM.idle(), *(diluted(sharpness) for sharpness in (2.55, 2.6, 2.65))]
    return STREAM.weights(first, second)


def profiled(weights: TransformerWeights) -> ModelProfile:
    amounts = Amounts(period=PERIOD, sequences=8, tokens=32)
    return profile_model(weights, None, bos=0, amounts=amounts, seed=0, memory=MEMORY)


def measured(profile: ModelProfile) -> Measurements:
    return Measurements.of(profile.values, profile.nulls, profile.answer_logits)


def test_diluted_induction_heads_have_the_role_and_the_inert_head_has_none():
    profile = profiled(diluted_model())
    (value,) = (value for value in profile.values if value.score == "induction")
    assert value.mean[1, 1:].min() > 0.33
    assert value.mean[1, 1:].max() < ROLES["induction"].required[0].least
    assert value.mean[1, 0] < 0.06
    found = [role for role in assign_roles(measured(profile)) if role.role == "induction"]
    assert [role.node for role in found] == [head(1, 1), head(1, 2), head(1, 3)]
    assert {role.below_line for role in found} == {0.4}
    assert "under 0.40, but stands out" in describe_head(found[:1])
    assert not [role for role in assign_roles(measured(profile)) if role.node == head(1, 0)]


def test_model_of_eight_positions_is_warned_of():
    """Two random tokens said twice: its context holds no more."""
    short = Stream(vocab=12, positions=8)
    weights = short.weights([short.offset(1, writes="copy"), short.uniform()], [short.sink()] * 2)
    amounts = Amounts(period=PERIOD, sequences=8, tokens=12)
    profile = profile_model(weights, None, bos=0, amounts=amounts, seed=0, memory=MEMORY)
    assert profile.period == 2
    found = profile_warnings(measured(profile), profile.period, weights.n_ctx)
    assert "repeat after only 2" in found[0]
