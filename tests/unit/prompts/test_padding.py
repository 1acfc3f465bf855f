"""Padding of prompts given as ids: removed, or refused where it may be text."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import Pair, align
from acdc_pipeline.prompts.padding import strip_padding
from tests.tokenizers import token_ids, word_tokenizer

UNKNOWN, BOS, EOS, WORD, PAD = 0, 1, 2, 12, 14


def tokenizer(pad: str | None):
    made = word_tokenizer(["a", "b", "c", "<pad>"], eos="<eos>")
    if pad is not None:
        made.pad_token = pad
    return made


def strip(ids: tuple[int, ...], pad: str | None) -> tuple[int, ...]:
    return strip_padding(ids, tokenizer(pad), "f:1", "clean")


def test_padding_token_of_its_own_is_removed_on_both_sides():
    assert strip((PAD, PAD, BOS, WORD), "<pad>") == (BOS, WORD)
    assert strip((BOS, WORD, PAD), "<pad>") == (BOS, WORD)


def test_pairs_padded_to_one_length_are_those_without_padding():
    longer = Pair((12, 12, 13), (12, 12, 12), (11,), ())
    padded = [Pair((12, 13, PAD), (13, 13, PAD), (11,), ()), longer]
    plain = [Pair((12, 13), (13, 13), (11,), ()), longer]
    left, right = (align(p, tokenizer("<pad>"), bos=True, name="x") for p in (padded, plain))
    assert left.clean.tolist() == right.clean.tolist()
    assert left.lengths.tolist() == right.lengths.tolist() == [2, 3]
    assert left.answer_pos.tolist() == [1, 2]


@pytest.mark.parametrize("pad", [None, "<eos>"])
def test_one_end_of_text_token_in_front_begins_the_text(pad):
    assert strip((EOS, WORD), pad) == (EOS, WORD)
    assert strip((WORD, EOS, WORD), pad) == (WORD, EOS, WORD)


@pytest.mark.parametrize(
    ("ids", "pad", "message"),
    [
        ((WORD, EOS), None, "ends with 1 of token 2, which is both padding and the end-of-text"),
        ((EOS, EOS, WORD), "<eos>", "begins with 2 of token 2"),
        ((UNKNOWN, WORD), "<unk>", "begins with 1 of token 0, which is both padding and the unk"),
        ((WORD, PAD, WORD), "<pad>", "has the padding token 14 inside"),
        ((PAD, PAD), "<pad>", "is nothing but padding"),
    ],
)
def test_ids_that_may_be_padding_or_text_are_refused(ids, pad, message):
    assert tokenizer("<pad>").pad_token_id == PAD
    with pytest.raises(PromptError) as caught:
        strip(ids, pad)
    assert message in str(caught.value)
    assert str(caught.value).startswith("f:1: clean: ")


def test_padding_in_front_without_a_beginning_of_text_token_may_begin_the_text():
    """Qwen's base models begin texts with their padding token, <|endoftext|>, if with any."""
    made = word_tokenizer(["a", "b", "<pad>"], bos=None, eos="<eos>")
    made.pad_token = "<pad>"
    pad, a = token_ids(made, "<pad>", "a")
    assert strip_padding((a, a, pad), made, "f:1", "clean") == (a, a)
    for ids, count in (((pad, a), 1), ((pad, pad, a), 2)):
        with pytest.raises(PromptError) as caught:
            strip_padding(ids, made, "f:1", "clean")
        assert str(caught.value).startswith(
            f"f:1: clean: begins with {count} of token {pad}, which is padding, or begins texts: "
            "this model's tokenizer has no beginning-of-text token"
        )
