"""The beginning-of-sequence token: as the task or the pair says, or as the tokenizer has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from acdc_pipeline.errors import SpecError
from acdc_pipeline.prompts import Pair, align, make_prompts
from acdc_pipeline.specs import find_task
from tests.tokenizers import gpt2_tokenizer, token_ids, word_tokenizer


def llama_like():
    """A tokenizer that puts `<bos>` in front of every text, as Llama's does."""
    made = word_tokenizer(["a", "b", "c"])
    (first,) = token_ids(made, "<bos>")
    made.backend_tokenizer.post_processor = TemplateProcessing(  # pyright: ignore
        single="<bos> $A", special_tokens=[("<bos>", first)]
    )
    assert made("a b")["input_ids"][0] == first
    return made


@pytest.mark.parametrize(
    ("of_task", "of_pair", "first"),
    [
        (False, None, False),
        (True, None, True),
        ("auto", None, True),
        (False, "auto", True),
        ("auto", False, False),
        (False, True, True),
    ],
)
def test_tokenizer_that_adds_bos_gives_one_where_it_is_left_to_it(of_task, of_pair, first):
    tokenizer = llama_like()
    pair = Pair("a b", "b b", ("c",), (), bos=of_pair)
    ids = align([pair], tokenizer, bos=of_task, name="x").clean[0].tolist()
    bos, a, b = token_ids(tokenizer, "<bos>", "a", "b")
    assert ids == ([bos, a, b] if first else [a, b])


def test_text_that_begins_with_the_token_gets_no_second_one():
    tokenizer = llama_like()
    made = align([Pair("<bos> a", "<bos> b", ("c",), ())], tokenizer, bos="auto", name="x")
    assert made.clean[0].tolist() == token_ids(tokenizer, "<bos>", "a")


def _starts_texts(model, first: int) -> PreTrainedTokenizerBase:
    """A tokenizer of `model` without an unknown token, which puts `<bos>` in front of texts."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", first)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>")


@pytest.mark.parametrize("kind", [WordLevel, BPE])
def test_vocabulary_without_letters_gets_the_token_that_its_tokenizer_adds(kind):
    vocabulary = {"1": 0, "2": 1, "<bos>": 2}
    model = WordLevel(vocabulary) if kind is WordLevel else BPE(vocabulary, [])
    tokenizer = _starts_texts(model, 2)
    made = align([Pair("1 2", "2 2", (" 1",), ())], tokenizer, bos="auto", name="x")
    assert made.clean.tolist() == [[2, 0, 1]]


def test_token_ids_need_no_tokenizer_that_has_the_token():
    tokenizer = word_tokenizer(["a"], bos=None)
    for bos in (True, "auto"):
        made = align([Pair((8, 9), (9, 9), (9,), ())], tokenizer, bos=bos, name="x")
        assert made.clean.tolist() == [[8, 9]]


def test_gpt2_adds_none_by_itself():
    made = align([Pair("a b", "a c", (" d",), ())], gpt2_tokenizer(), bos="auto", name="x")
    assert made.lengths.tolist() == [2]


def test_line_of_a_file_chooses_and_changes_the_task_hash(tmp_path: Path):
    line = '{"clean": "a b", "corrupted": "b b", "correct": "c", "incorrect": "a"%s}\n'
    hashes = set()
    for name, extra, length in [
        ("plain", "", 2),
        ("yes", ', "bos": true', 3),
        ("auto", ', "bos": "auto"', 3),
    ]:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(line % extra)
        task = find_task(path)
        hashes.add(task.definition_hash())
        assert make_prompts(task, llama_like(), n=1, seed=0).lengths.tolist() == [length]
    assert len(hashes) == 3


def test_other_values_are_refused(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"clean": "a", "corrupted": "b", "correct": "c", "bos": "maybe"}\n')
    with pytest.raises(SpecError, match=r"x\.jsonl:1: bos: 'maybe'"):
        find_task(path)
