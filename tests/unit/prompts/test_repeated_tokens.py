"""Repeated random tokens: what repeats, what the counterfactual takes away, how it is split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet, is_held_out, make_prompts
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import token_ids, word_tokenizer

WORDS = word_tokenizer([f"w{i}" for i in range(300)])
(BOS,) = token_ids(WORDS, "<bos>")


def induction(length: tuple[int, int] = (12, 16), period: tuple[int, int] = (3, 7)) -> TaskSpec:
    data = {
        "name": "induction",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {
            "kind": "repeated_tokens",
            "bos": True,
            "length": list(length),
            "period": list(period),
            "corrupted": "first_copy",
            "answers": "last",
        },
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


def rows(made: PromptSet) -> list[tuple[list[int], list[int], int, int]]:
    """Clean and corrupted tokens without bos and padding, correct, incorrect."""
    return [
        (clean[1:length], corrupted[1:length], right, wrong)
        for clean, corrupted, length, (right,), (wrong,) in zip(
            made.clean.tolist(),
            made.corrupted.tolist(),
            made.lengths.tolist(),
            made.correct,
            made.incorrect,
            strict=True,
        )
    ]


def first_copy(tokens: list[int]) -> tuple[int, int]:
    """Where the repeated token that comes first stands, and how far on it stands again."""
    again = {t: i for i, t in enumerate(tokens) if tokens.index(t) < i}
    start = min(tokens.index(t) for t in again)
    return start, again[tokens[start]] - start


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(["all", "train", "held_out"]))
def test_answer_is_what_followed_the_last_token_before(seed: int, split: str):
    made = make_prompts(induction(), WORDS, n=5, seed=seed, split=split)  # pyright: ignore[reportArgumentType]
    assert made.clean[:, 0].tolist() == [BOS] * 5
    for clean, corrupted, right, wrong in rows(made):
        earlier = clean.index(clean[-1])
        assert earlier < len(clean) - 1
        assert clean[earlier + 1] == right
        assert corrupted[earlier + 1] == wrong


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_counterfactual_redraws_the_first_copy_and_nothing_repeats_in_it(seed: int):
    for clean, corrupted, _, _ in rows(make_prompts(induction(), WORDS, n=5, seed=seed)):
        start, period = first_copy(clean)
        copy = slice(start, start + period)
        assert clean[start + period :] == clean[start : len(clean) - period]
        assert len(set(corrupted)) == len(corrupted)
        assert not set(corrupted[copy]) & set(clean)
        assert corrupted[:start] == clean[:start]
        assert corrupted[start + period :] == clean[start + period :]


def test_lengths_periods_and_noise_vary_within_their_ranges():
    made = rows(make_prompts(induction(), WORDS, n=300, seed=0))
    assert {len(clean) for clean, *_ in made} == set(range(12, 17))
    places = [first_copy(clean) for clean, *_ in made]
    assert {period for _, period in places} == set(range(3, 8))
    assert len({start for start, _ in places}) > 5
    distances = {len(clean) - 1 - clean.index(clean[-1]) for clean, *_ in made}
    assert distances == set(range(3, 8))


def test_train_prompts_hold_no_held_out_pair_and_held_out_prompts_no_other():
    def pairs_of(split: str) -> set[tuple[int, int]]:
        made = make_prompts(induction(), WORDS, n=200, seed=0, split=split)  # pyright: ignore[reportArgumentType]
        out: set[tuple[int, int]] = set()
        for clean, corrupted, right, _ in rows(made):
            out |= set(zip(clean, [*clean[1:], right], strict=True))
            out |= set(itertools.pairwise(corrupted))
        return out

    def held_out(pair: tuple[int, int]) -> bool:
        return is_held_out(" ".join(WORDS.convert_ids_to_tokens(list(pair))))

    assert not any(held_out(pair) for pair in pairs_of("train"))
    assert all(held_out(pair) for pair in pairs_of("held_out"))


def test_prompts_are_a_prefix_of_more_prompts():
    few = make_prompts(induction(), WORDS, n=16, seed=4)
    many = make_prompts(induction(), WORDS, n=64, seed=4)
    assert rows(many)[:16] == rows(few)


def test_special_tokens_are_never_drawn():
    made = make_prompts(induction(), WORDS, n=300, seed=0)
    special = set(token_ids(WORDS, "<bos>", "<unk>"))
    assert not special & {t for clean, corrupted, *_ in rows(made) for t in (*clean, *corrupted)}


def test_vocabulary_too_small_for_one_prompt_is_an_error():
    with pytest.raises(
        PromptError, match=r"generator\.length: .* has 12 regular tokens.* needs 23"
    ):
        make_prompts(induction(), word_tokenizer(["a", "b", "c", "d"]), n=1, seed=0)


def test_split_with_no_possible_sequence_is_an_error_rather_than_a_hang():
    tokenizer = word_tokenizer([f"w{i}" for i in range(16)])
    with pytest.raises(PromptError, match=r"generator\.period: no sequence of 8 tokens"):
        make_prompts(induction((12, 12), (8, 8)), tokenizer, n=50, seed=0, split="held_out")
