from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from acdc_pipeline.graph import Node
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.scales import ScoreScale
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.neighbours import find_similar_heads, smallest_columns
from acdc_pipeline.wiki.scores import Score, definition_of
from tests.unit.wiki.test_tasks import model as plain_model

METRICS = ("induction@1", "previous_token@1", "duplicate_token@1")
SCALES = {metric: ScoreScale(0.0, 1.0) for metric in METRICS}


def model(name: str, heads: dict[str, tuple[str, list[float]]]) -> Model:
    """A model of 2 x 2 heads; for each named head its role and its three scores."""
    grids = {metric: np.zeros((2, 2)) for metric in METRICS}
    roles: dict[tuple[int, int], tuple[HeadRole, ...]] = {}
    for head, (role, values) in heads.items():
        node = Node.parse(head)
        place = node.layer or 0, node.head or 0
        for metric, value in zip(METRICS, values, strict=True):
            grids[metric][place] = value
        held = HeadRole(node, role, None, ("attention",), f"{role}@1", max(values), 1, 4)
        roles[place] = (held,)
    nothing = np.full((2, 2), np.nan)
    scores = {metric: Score(metric, grids[metric], nothing, nothing, 1, 0) for metric in METRICS}
    return dataclasses.replace(plain_model(name), scores=scores, roles=roles)


def test_neighbours_are_the_heads_of_other_models_that_score_alike():
    one = model("a", {"a1.h0": ("induction", [0.9, 0.0, 0.0])})
    two = model(
        "b",
        {"a0.h1": ("induction", [0.6, 0.0, 0.0]), "a1.h1": ("previous_token", [0.0, 0.9, 0.0])},
    )
    found = find_similar_heads([one, two], SCALES, [0, 1])
    first, second = found[0][1, 0]
    assert (first.title, first.name) == ("b", "a0.h1")
    # scores differ by 0.3 in one of three: 1 - sqrt(0.09 / 3) = 0.83
    assert first.similarity == 0.83
    assert second.name == "a1.h1"
    assert [n.title for n in found[1][0, 1]] == ["a"]
    assert find_similar_heads([one, two], SCALES, [1]) == {1: found[1]}
    assert find_similar_heads([one, two], SCALES, []) == {}


def test_neighbours_of_heads_without_a_telling_role_are_not_looked_for():
    one = model("a", {"a1.h0": ("sink", [0.9, 0.0, 0.0])})
    two = model("b", {"a0.h1": ("induction", [0.6, 0.0, 0.0])})
    assert find_similar_heads([one, two], SCALES, [0, 1]) == {0: {}, 1: {}}


def test_neighbours_need_a_second_model_and_three_scores():
    one = model("a", {"a1.h0": ("induction", [0.9, 0.0, 0.0])})
    assert find_similar_heads([one], SCALES, [0]) == {0: {}}
    few = {"induction@1": ScoreScale(0.0, 1.0)}
    assert find_similar_heads([one, one], few, [0, 1]) == {0: {}, 1: {}}


def test_neighbours_ignore_scores_with_a_task_even_where_all_models_have_them():
    one = model("a", {"a1.h0": ("induction", [0.9, 0.0, 0.0])})
    two = model("b", {"a0.h1": ("induction", [0.6, 0.0, 0.0])})
    (wanted,) = find_similar_heads([one, two], SCALES, [0])[0].values()
    # of the same family as the others
    metric = "relation@1:country_capital"
    assert definition_of(metric).family == "weights"
    with_task = []
    for number, known in enumerate((one, two)):
        nothing = np.full((2, 2), np.nan)
        score = Score(metric, np.full((2, 2), float(number)), nothing, nothing, 1, 0)
        with_task.append(dataclasses.replace(known, scores={**known.scores, metric: score}))
    scales = {**SCALES, metric: ScoreScale(0.0, 1.0)}
    assert list(find_similar_heads(with_task, scales, [0])[0].values()) == [wanted]


@pytest.mark.parametrize("columns", [30, 500])
def test_nearest_places_are_those_of_a_stable_sort(columns: int):
    draw = np.random.default_rng(3)
    # few different numbers, so that many are equal, and some are none
    distance = draw.integers(0, 7 * columns // 30, (40, columns)).astype(np.float32)
    distance[draw.random(distance.shape) < 0.2] = np.inf
    distance[0, 3:] = np.inf
    expected = np.argsort(distance, axis=1, kind="stable")
    np.testing.assert_array_equal(smallest_columns(distance, 5), expected[:, :5])
    few = distance[:, :3]
    np.testing.assert_array_equal(smallest_columns(few, 5), np.argsort(few, axis=1, kind="stable"))
