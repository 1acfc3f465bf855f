"""Word lists under a tokenizer: which words are left, and what is said when too few are."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Context
from acdc_pipeline.prompts.tokenization import WordUse, explain_dropped
from tests.tokenizers import gpt2_tokenizer, spaced_word_tokenizer, word_tokenizer

IN_A_SENTENCE = Context("and", " ", " went")
AT_THE_START = Context("", "", " went")


def two_names(needed: int) -> WordUse:
    return WordUse("names", ("Mary", "John"), (IN_A_SENTENCE,), needed)


def test_words_left_are_those_that_the_tokenizer_keeps_whole():
    tokenizer = word_tokenizer(["and", "went", "Mary"])
    assert two_names(1).list_usable(tokenizer) == ["Mary"]
    assert two_names(1).require_usable(tokenizer, "all") == ["Mary"]


def test_too_few_words_left_names_list_count_need_a_word_and_fix():
    with pytest.raises(PromptError) as caught:
        two_names(2).require_usable(word_tokenizer(["and", "went", "Mary"]), "all")
    assert str(caught.value) == (
        "word list 'names': too few words: 1 left of 2 words, 2 needed;"
        " 'John' in 'and John went' is not in the vocabulary of this model's tokenizer\n"
        "allowed: words that are one token wherever the task puts them\n"
        "fix: add words to 'names' that this tokenizer keeps whole"
    )


def test_too_few_words_in_a_split_says_how_many_the_split_has():
    tokenizer = word_tokenizer(["and", "went", "Mary", "John"])
    with pytest.raises(PromptError, match=r"2 words, \d of them in split 'held_out'"):
        two_names(3).require_usable(tokenizer, "held_out")


def test_word_that_only_misses_its_space_is_named_with_tokens_place_and_fix():
    # " umbrella" is one token, and "umbrella" at the beginning of a text is not
    reason, fix = explain_dropped(gpt2_tokenizer(), "umbrella", [IN_A_SENTENCE, AT_THE_START])
    assert reason == "'umbrella' at the beginning of 'umbrella went' is 2 tokens: 'umb' 'rella'"
    assert fix == "begin the template with another word: behind a space, 'umbrella' is one token"


def test_word_that_is_unknown_only_without_its_space_is_no_unknown_word():
    tokenizer = spaced_word_tokenizer(["a", "Mary"], at_the_start="never")
    reason, fix = explain_dropped(tokenizer, "Mary", [AT_THE_START])
    assert reason.startswith("'Mary' at the beginning of 'Mary went' is not in the vocabulary")
    assert fix == "begin the template with another word: behind a space, 'Mary' is one token"


@pytest.mark.parametrize(
    ("word", "context", "reason"),
    [
        ("Abigail", IN_A_SENTENCE, "'Abigail' in 'and Abigail went' is 3 tokens: ' Ab' 'ig' 'ail'"),
        ("kind", Context("a", " ", "ness"), "'kind' merges with 'ness' behind it"),
        ("o", Context("a drink t", "", " it"), "'o' merges with 'a drink t' in front of it"),
    ],
)
def test_word_that_never_fits_there_is_named_with_the_reason(
    word: str, context: Context, reason: str
):
    assert explain_dropped(gpt2_tokenizer(), word, [context]) == (reason, None)
