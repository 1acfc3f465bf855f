"""Held-out words, and the one stream of randomness."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.prompts.split import (
    in_split,
    is_held_out,
    seed_generator,
    words_in_split,
)


def test_word_is_held_out_iff_its_sha256_is_a_multiple_of_five():
    for word in ("Mary", "John", "Tom", "store", "é", "two words"):
        expected = int(hashlib.sha256(word.encode("utf-8")).hexdigest(), 16) % 5 == 0
        assert is_held_out(word) == expected


@given(st.lists(st.text(min_size=1), unique=True))
def test_splits_of_a_list_share_no_word_and_lose_none(words: list[str]):
    train, held_out = words_in_split(words, "train"), words_in_split(words, "held_out")
    assert set(train) & set(held_out) == set()
    assert sorted(train + held_out) == sorted(words)
    assert words_in_split(words, "all") == words


@given(st.text())
def test_every_word_is_in_split_all(word: str):
    assert in_split(word, "all")


def test_streams_differ_by_seed_definition_and_split_and_repeat_otherwise():
    def first(seed: int, definition: str, split: str) -> float:
        return seed_generator(seed, definition, split).random()  # pyright: ignore[reportArgumentType]

    base = first(0, "a", "all")
    assert base == first(0, "a", "all")
    assert len({base, first(1, "a", "all"), first(0, "b", "all"), first(0, "a", "train")}) == 4
