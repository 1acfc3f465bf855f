from __future__ import annotations

import math

import pytest

from acdc_pipeline.wiki import numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.93124, "0.931"),
        (-1.2, "−1.2"),
        (12300.0, "12,300"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.000012, "1.20e−5"),
        (2.5e7, "2.50e7"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_number_has_three_digits_and_a_real_minus_sign(value: float | None, shown: str):
    assert numbers.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.500"),
        (0.9997, "1.000"),
        (1.0, "1"),
        (-12.04, "−12.0"),
        (3.0012, "3.00"),
        (12300.4, "12,300"),
        (0.01234, "0.0123"),
        (-0.00002, "≈0"),
        (-0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_aligned_number_keeps_the_zeros_behind_the_point(value: float | None, shown: str):
    assert numbers.aligned(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9, "0.90"),
        (1.0, "1"),
        (-1.24, "−1.2"),
        (1234.5, "1,234"),
        (0.0512, "0.051"),
        (-0.00123, "−0.0012"),
        (0.00001, "≈0"),
        (0.0, "0"),
        (math.nan, "–"),
    ],
)
def test_brief_number_has_two_digits(value: float, shown: str):
    assert numbers.brief(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.032, "3.2 %"), (0.5, "50 %"), (1.0, "100 %"), (None, "–")]
)
def test_percent_has_a_digit_behind_the_point_below_ten(share: float | None, shown: str):
    assert numbers.percent(share).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("place", "shown"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (112, "112th")]
)
def test_ordinal_ends_as_people_say_it(place: int, shown: str):
    assert numbers.ordinal(place) == shown


def test_counted_and_joined_read_as_english():
    assert numbers.counted(1, "head") == "1 head"
    assert numbers.counted(1024, "head") == "1,024 heads"
    assert numbers.joined([]) == ""
    assert numbers.joined(["a"]) == "a"
    assert numbers.joined(["a", "b", "c"]) == "a, b and c"
    assert numbers.short(85_000_000.0) == "85M"
