from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from acdc_pipeline.store import HeadScore, tables
from acdc_pipeline.wiki.pages.head_scores import exceeds_null
from acdc_pipeline.wiki.scores import (
    compute_percentiles,
    definition_of,
    group_by_family,
    label_metrics,
    merge_scores,
    only_metrics,
    read_scores,
    sort_metrics,
)


def row(layer: int, head: int, metric: str, value: float, low: float | None = None) -> HeadScore:
    high = None if low is None else value + (value - low)
    return HeadScore("m", layer, head, metric, value, 50, 7, low, high)


def table(*rows: HeadScore) -> pa.Table:
    return tables.heads_table(rows)


def test_read_scores_put_values_where_the_heads_are_and_leave_the_rest_missing():
    rows = (row(0, 1, "induction@1", 0.5, 0.4), row(1, 0, "induction@1", 0.25))
    found = read_scores(table(*rows, row(1, 1, "sink@1", 0.0)))
    assert list(found) == ["induction@1", "sink@1"]
    values = found["induction@1"].values
    np.testing.assert_array_equal(values, [[np.nan, 0.5], [0.25, np.nan]])
    np.testing.assert_array_equal(found["induction@1"].low, [[np.nan, 0.4], [np.nan, np.nan]])
    assert found["induction@1"].n == 50
    # measured as zero is not missing
    assert found["sink@1"].values[1, 1] == 0.0
    assert read_scores(table()) == {}


def test_scores_of_several_runs_become_grids_of_the_model_and_the_first_counts():
    one = read_scores(table(row(0, 0, "sink@1", 0.1)))
    two = read_scores(table(row(0, 0, "sink@1", 0.2), row(2, 3, "entropy@1", 1.0)))
    found = merge_scores([one, two], 2, 2)
    np.testing.assert_array_equal(found["sink@1"].values, [[0.1, np.nan], [np.nan, np.nan]])
    # a head that the model does not have
    assert np.isnan(found["entropy@1"].values).all()
    assert found["entropy@1"].values.shape == (2, 2)


def test_metrics_come_in_the_order_of_their_definitions_with_unknown_ones_last():
    metrics = ["my_score@3", "ov_copying@2", "direct_effect@1:ioi", "induction@1", "induction@9"]
    assert sort_metrics(metrics) == [
        "induction@1",
        "ov_copying@2",
        "direct_effect@1:ioi",
        "induction@9",
        "my_score@3",
    ]
    assert list(group_by_family(metrics)) == [
        "random tokens",
        "weights",
        "task prompts",
        "other scores",
    ]


def test_definition_of_an_unknown_score_says_its_name_and_claims_nothing():
    found = definition_of("my_score@3:ioi")
    assert (found.name, found.version, found.title) == ("my_score", 3, "My score")
    assert found.nulls == ()
    assert definition_of("induction@1").nulls != ()
    assert definition_of("nonsense").title == "Nonsense"


@pytest.mark.parametrize(
    ("low", "high", "beyond", "within"),
    [
        (None, 0.05, [0.06], [0.0, 0.05, -0.2]),
        (-0.05, 0.26, [-0.06, 0.27], [0.0, -0.05, 0.26]),
        # earlier heads than the ablated ones have exactly 0, and others gain a little on the whole
        (0.0064, 0.042, [0.043, -0.043], [0.0, 0.003, -0.01]),
        (-0.042, -0.0064, [0.043, -0.043], [0.0, -0.003, 0.01]),
        (0.0, 0.0, [0.01, -0.01], [0.0]),
    ],
)
def test_only_what_is_further_from_zero_than_chance_exceeds_a_null(
    low: float | None, high: float, beyond: list[float], within: list[float]
):
    assert all(exceeds_null(value, low, high) for value in beyond)
    assert not any(exceeds_null(value, low, high) for value in (*within, np.nan))


def test_percentiles_names_the_highest_steps_and_says_nothing_of_the_rest():
    found = compute_percentiles([np.arange(1000, dtype=float).reshape(10, 100)])
    assert found.label(995.0).startswith("top 1\N{NARROW NO-BREAK SPACE}%")
    assert found.label(960.0).startswith("top 5")
    assert found.label(800.0).startswith("top 25")
    assert found.label(500.0) == ""
    assert found.label(0.0) == ""
    assert found.population == "1,000 heads of 1 model"


def test_percentiles_names_the_lowest_steps_of_signed_scores():
    found = compute_percentiles([np.linspace(-1, 1, 201)])
    assert found.label(-1.0).startswith("lowest 1")
    assert found.label(1.0).startswith("top 1")


def test_percentiles_is_silent_where_all_heads_score_alike_or_are_few():
    assert compute_percentiles([np.zeros(500)]).label(0.0) == ""
    assert compute_percentiles([np.arange(10, dtype=float)]).label(9.0) == ""


def test_warnings_name_scores_by_their_titles():
    text = "nulls reach nearly all there is in attention_to_repeat@1:ioi (0.97 of 1), x@2 and y"
    assert label_metrics(text) == (
        "nulls reach nearly all there is in “Attention to the repeated name” on ioi (0.97 of 1), "
        "x@2 and y"
    )


def test_lists_of_nulls_keep_those_of_the_scores_shown():
    text = (
        "nulls reach past the usual lines in sink@1 (0.98 of 1; no head is one), x@2:ioi (0.4, 2)"
    )
    assert only_metrics(text, {"x@2:ioi"}) == "nulls reach past the usual lines in x@2:ioi (0.4, 2)"
    assert only_metrics(text, {"x@2:ioi", "sink@1"}) == text
    assert only_metrics(text, {"x@2", "sink"}) == ""
    assert only_metrics("no null was measured", {"sink@1"}) == "no null was measured"
