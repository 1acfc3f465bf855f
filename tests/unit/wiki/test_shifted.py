"""Heads that look a fixed number of tokens back, which no score is about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acdc_pipeline.wiki.typical import Typical, TypicalPlace, TypicalText, shift_typical


def looking_back(distance: int, share: float, at: list[int]) -> Typical:
    """A head with that share of its attention so many tokens back, the rest on the first."""
    pattern = np.zeros((len(at), len(at)), np.uint8)
    pattern[:, 0] = round(255 * (1 - share))
    for query, here in enumerate(at):
        if here - distance in at:
            pattern[query, at.index(here - distance)] += round(255 * share)
    text = TypicalText("random tokens", tuple(at), ("x",) * len(at), {"sink@1": ((1, 0),)})
    place = TypicalPlace(text, len(at) - 1, 0.1, pattern[-1])
    return Typical("sink@1", 10, 0.0, 1.0, 0.1, (place,), pattern)


@pytest.mark.parametrize("at", [list(range(12)), [0, *range(5, 17)]])
def test_distance_is_told_by_positions_and_not_by_places_on_the_page(at: list[int]):
    found = shift_typical(looking_back(3, 0.8, at))
    assert found is not None
    distance, share, shown = found
    assert distance == 3
    assert share == pytest.approx(0.8, abs=0.1)
    assert all(at[query] - at[key] == 3 for query, key in shown.cells)
    assert shown.texts[0].value == pytest.approx(0.8, abs=0.01)


def test_texts_whose_key_is_not_shown_are_left_out():
    shown = looking_back(3, 0.8, [0, *range(5, 17)])
    first = replace(shown.texts[0], query=1)
    assert shift_typical(replace(shown, texts=(first,))) is None
    found = shift_typical(replace(shown, texts=(shown.texts[0], first)))
    assert found is not None
    assert len(found[2].texts) == 1
