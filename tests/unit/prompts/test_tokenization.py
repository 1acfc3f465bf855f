"""Single-token words in context, beginning of text, unknown words."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Context
from acdc_pipeline.prompts.tokenization import (
    bos_id,
    continuations,
    encode,
    quote_tokens,
    regular_ids,
    single_token_words,
    unknown_id,
    unknown_words,
)
from tests.tokenizers import gpt2_tokenizer, word_tokenizer

IN_A_SENTENCE = Context("and", " ", " went")


def test_gpt2_words_are_judged_with_the_space_in_front_of_them():
    words = ["Mary", "Abigail", "oil", "xylophone"]
    assert single_token_words(gpt2_tokenizer(), words, [IN_A_SENTENCE]) == ["Mary", "oil"]


def test_gpt2_word_must_be_one_token_in_every_place_where_it_can_stand():
    # " umbrella" is one token behind a space, "umbrella" at the beginning of a text is not
    at_the_start = Context("", "", " went")
    assert single_token_words(gpt2_tokenizer(), ["umbrella"], [IN_A_SENTENCE]) == ["umbrella"]
    assert single_token_words(gpt2_tokenizer(), ["umbrella"], [IN_A_SENTENCE, at_the_start]) == []


def test_gpt2_word_that_merges_with_what_stands_behind_is_dropped():
    assert single_token_words(gpt2_tokenizer(), ["kind"], [Context("a", " ", "ness")]) == []


def test_word_tokenizer_words_outside_the_vocabulary_are_dropped():
    tokenizer = word_tokenizer(["and", "went", "Mary"])
    assert single_token_words(tokenizer, ["Mary", "John"], [IN_A_SENTENCE]) == ["Mary"]


def test_continuation_is_none_where_two_texts_merge_into_one_token():
    added = continuations(gpt2_tokenizer(), [("a drink to", " Mary"), ("a drink t", "o")])
    assert added == [(5335,), None]


def test_bos_of_gpt2_is_its_end_of_text_token():
    assert bos_id(gpt2_tokenizer()) == 50256


def test_bos_of_a_tokenizer_with_an_end_of_text_token_only_is_that_token():
    tokenizer = word_tokenizer(["a"], bos=None, eos="<eos>")
    assert bos_id(tokenizer) == tokenizer.convert_tokens_to_ids("<eos>")


def test_bos_of_a_tokenizer_without_one_is_an_error_that_names_the_field():
    with pytest.raises(PromptError, match=r"generator\.bos: .*none") as caught:
        bos_id(word_tokenizer(["a"], bos=None))
    assert caught.value.fix is not None


def test_gpt2_has_no_unknown_token_though_it_declares_one():
    assert unknown_id(gpt2_tokenizer()) is None
    assert unknown_id(word_tokenizer(["a"])) == 0


def test_regular_tokens_are_all_but_the_special_ones():
    assert regular_ids(gpt2_tokenizer()) == list(range(50256))
    tokenizer = word_tokenizer(["a", "b"], eos="<eos>")
    names = tokenizer.convert_ids_to_tokens(regular_ids(tokenizer))
    assert {"a", "b"} <= set(names)
    assert not {"<unk>", "<bos>", "<eos>"} & set(names)


def test_unknown_words_of_a_text_are_named_once_each():
    assert unknown_words(word_tokenizer(["a", "b"]), "a x b y x") == ["x", "y"]


def test_quote_tokens_shows_spaces():
    tokenizer = gpt2_tokenizer()
    assert quote_tokens(tokenizer, encode(tokenizer, [" xylophone"])[0]).startswith("' x' ")
