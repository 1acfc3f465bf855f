"""Spans as data: names in order, padding, absolute positions, picked prompts."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.prompt_set import pick_rows
from acdc_pipeline.prompts.spans import (
    Spans,
    in_spans_of,
    spans_from_names,
    token_spans,
    with_answers,
)
from tests.prompt_sets import random_prompts


def test_names_follow_the_prompts_and_padding_has_none():
    spans = spans_from_names([["bos", "S", "rest", "END"], ["bos", "rest", "END"]], 5)
    assert spans.names == ("bos", "S", "rest", "END")
    assert spans.index.tolist() == [[0, 1, 2, 3, -1], [0, 2, 3, -1, -1]]
    assert spans.names_of(1) == ["bos", "rest", "END"]


def test_the_last_token_of_short_prompts_comes_behind_the_middle_of_long_ones():
    spans = spans_from_names([["x", "END"], ["x", "a", "b", "c", "d", "END"]], 6)
    assert spans.names == ("x", "a", "b", "c", "d", "END")


def test_tokens_are_spans_of_their_own_where_all_prompts_have_one_length():
    spans = token_spans([3, 3], 3, "t")
    assert spans.names == ("t0", "t1", "t2")
    assert spans.index.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_tokens_of_prompts_of_different_length_are_refused_with_the_lengths():
    with pytest.raises(PromptError, match="differ in length: 2 of 3 tokens, 1 of 5 tokens"):
        token_spans([5, 3, 3], 5, "task 't'")


def test_picked_and_moved_prompts_keep_their_spans():
    from dataclasses import replace

    spans = Spans(("a", "b"), torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, -1]]))
    prompts = replace(random_prompts(3, 3, 5, lengths=[3, 3, 2]), spans=spans)
    picked = pick_rows(prompts, [2, 0, 2]).to(torch.device("cpu")).spans
    assert picked is not None
    assert picked.names == ("a", "b")
    assert picked.index.tolist() == [[1, 1, -1], [0, 1, 1], [1, 1, -1]]


def test_spans_of_other_prompts_come_first_and_may_be_absent():
    whole = spans_from_names([["bos", "S", "IO", "END"], ["bos", "IO", "S", "END"]], 4)
    whole = with_answers(whole, torch.tensor([0, 1]), torch.tensor([3, 3]))
    some = spans_from_names([["bos", "S", "new", "END"]], 5)
    some = with_answers(some, torch.tensor([0]), torch.tensor([3]))
    joined = in_spans_of(some, whole)
    assert joined.names == ("bos", "S", "IO", "END", "new")
    assert joined.index.tolist() == [[0, 1, 4, 3, -1]]
    assert joined.answers == ("END",)
    assert joined.seen_by("S") == ("bos", "S", "IO")
    assert joined.seen_by("END") == ("bos", "S", "IO", "END", "new")
    assert in_spans_of(whole, whole).names == whole.names


@pytest.mark.parametrize(
    ("named", "fix"), [(True, "use positions 'spans'"), (False, "let `acdc tasks spans FILE`")]
)
def test_tokens_of_prompts_of_different_length_are_refused_with_what_helps(named: bool, fix: str):
    with pytest.raises(PromptError) as caught:
        token_spans([5, 3], 5, "t", named)
    assert (caught.value.fix or "").startswith(fix)
