"""Common tokens of prompts, against all subsequences tried one by one."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.prompts.common_tokens import common_subsequence, place_tokens

TEXT = st.text("abc", max_size=7)


def subsequences(text: str) -> set[str]:
    return {
        "".join(text[i] for i in places)
        for n in range(len(text) + 1)
        for places in combinations(range(len(text)), n)
    }


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT)
def test_common_subsequence_is_the_longest_of_all(left: str, right: str):
    both = subsequences(left) & subsequences(right)
    found = "".join(common_subsequence(list(left), list(right)))
    assert found in both
    assert len(found) == max(map(len, both))


def neighbours(places: tuple[int, ...], n: int) -> int:
    ends = int(places[0] == 0) + int(places[-1] == n - 1)
    return ends + sum(b == a + 1 for a, b in pairwise(places))


@settings(max_examples=60, deadline=None)
@given(st.text("ab", min_size=1, max_size=8), st.data())
def test_places_have_the_most_neighbours_of_all_ways(prompt: str, data: st.DataObject):
    constants = data.draw(st.sampled_from(sorted(subsequences(prompt) - {""})))
    ways = [
        places
        for places in combinations(range(len(prompt)), len(constants))
        if "".join(prompt[i] for i in places) == constants
    ]
    found = tuple(place_tokens(list(constants), list(prompt)))
    assert found in ways
    assert neighbours(found, len(prompt)) == max(neighbours(way, len(prompt)) for way in ways)


@pytest.mark.parametrize(
    ("constants", "prompt", "expected"),
    [
        ("", "abc", []),
        # "went to the _ . _ gave it to": the last "to" is that at the end
        ("we to th . gi to", "we to th st . Jo gi ob to", [0, 1, 2, 4, 6, 8]),
        ("and to", "and Jo and to", [2, 3]),
    ],
)
def test_places_of_words(constants: str, prompt: str, expected: list[int]):
    assert place_tokens(constants.split(), prompt.split()) == expected
