"""Which position of the counterfactual corresponds to each clean one, worked out by hand."""

from __future__ import annotations

import re

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import Pair
from acdc_pipeline.prompts.counterparts import find_counterparts


def counterparts(clean: str, corrupted: str, **parts: object) -> tuple[int, ...]:
    sides = tuple(map(ord, clean)), tuple(map(ord, corrupted))
    pair = Pair(*sides, (1,), (), **parts)  # pyright: ignore[reportArgumentType]
    return find_counterparts(pair, *sides, "f:1", lambda _: "")


@pytest.mark.parametrize(
    ("clean", "corrupted", "expected"),
    [
        ("abc", "xyz", (0, 1, 2)),
        ("abc", "wxyz", (1, 2, 3)),
        ("abcd", "xyz", (0, 0, 1, 2)),
        ("Babc", "Bwxyz", (0, 2, 3, 4)),
        ("Babcd", "Bxy", (0, 1, 1, 1, 2)),
        ("Babc", "B", (0, 0, 0, 0)),
        ("B", "Bxy", (2,)),
    ],
)
def test_sides_aligned_from_the_right_end_together(clean, corrupted, expected):
    assert counterparts(clean, corrupted, align="right") == expected


def test_spans_are_aligned_from_their_ends_and_the_rest_in_order():
    #          0123456                    01234
    found = counterparts("BtAbigs", "BtMgs", spans=(("S", (2, 3, 4), (2,)),))
    assert found == (0, 1, 2, 2, 2, 3, 4)
    longer = counterparts("BtMgs", "BtAbigs", spans=(("S", (2,), (2, 3, 4)),))
    assert longer == (0, 1, 4, 5, 6)


@pytest.mark.parametrize(
    ("sides", "parts", "message"),
    [
        (("abc", "wxyz"), {}, r'f:1: the sides differ in length: clean 3 .* "align": "right"'),
        (("abc", "wxyz"), {"spans": (("S", (3,), (1,)),)}, "3 is not a token of a prompt of 3"),
        (
            ("abc", "vwxyz"),
            {"spans": (("S", (0,), (0, 1)),)},
            r"outside of the spans clean has 2 tokens \(3 in all\) and corrupted 3 \(5 in all\)",
        ),
        (("abc", "xyz"), {"spans": (("S", (2,), (1,)),)}, "last tokens of the sides do not"),
    ],
)
def test_sides_that_do_not_correspond_are_refused(sides, parts, message):
    with pytest.raises(PromptError) as caught:
        counterparts(*sides, **parts)
    assert re.search(message, str(caught.value).replace("\n", " "))
