"""The tasks that come with the package, under GPT-2's tokenizer and the zoo's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Topology
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.prompts.tokenization import encode
from acdc_pipeline.specs import TemplateGenerator, find_reference, find_task
from acdc_pipeline.specs.words import WordsGenerator
from tests.tokenizers import decoded, gpt2_tokenizer

TASKS = ("ioi", "induction", "docstring", "previous_token")


def zoo_tokenizer() -> PreTrainedTokenizerBase:
    from benchmarks.zoo.tokenizer import build_tokenizer

    return build_tokenizer(256)


TOKENIZERS = pytest.mark.parametrize("tokenizer", [gpt2_tokenizer, zoo_tokenizer])


@TOKENIZERS
@pytest.mark.parametrize("split", ["all", "train", "held_out"])
@pytest.mark.parametrize("name", TASKS)
def test_task_makes_aligned_pairs_whose_answers_follow(
    name: str, split: str, tokenizer: Callable[[], PreTrainedTokenizerBase]
):
    tok = tokenizer()
    made = make_prompts(find_task(name), tok, n=72, seed=1, split=split)  # pyright: ignore[reportArgumentType]
    assert made.clean.shape == made.corrupted.shape
    for row, (right, *more) in enumerate(made.correct):
        assert not more
        assert right not in made.incorrect[row]
        assert made.incorrect[row]
        length = int(made.lengths[row])
        clean = made.clean[row, :length].tolist()
        assert clean != made.corrupted[row, :length].tolist()
        if name != "induction":  # random tokens are not what a text would be cut into
            text = made.clean_text[row]
            answer = decoded(tok, right)
            assert encode(tok, [text + answer]) == [(*clean[1:], right)]
            assert answer.startswith(" ")


@pytest.mark.parametrize("name", ["ioi", "docstring", "previous_token"])
def test_every_word_of_a_bundled_list_is_one_gpt2_token_behind_a_space(name: str):
    generator = find_task(name).generator
    assert isinstance(generator, WordsGenerator)
    for words in generator.words.values():
        ids = encode(gpt2_tokenizer(), [f" {word}" for word in words])
        assert [word for word, own in zip(words, ids, strict=True) if len(own) != 1] == []


def test_ioi_has_fifteen_templates_and_a_hundred_names_or_more():
    generator = find_task("ioi").generator
    assert isinstance(generator, TemplateGenerator)
    assert len(set(generator.templates)) >= 15
    assert len(generator.words["names"]) >= 100


@TOKENIZERS
def test_no_bundled_word_is_lost_to_a_tokenizer(tokenizer: Callable[[], PreTrainedTokenizerBase]):
    made = make_prompts(find_task("ioi"), tokenizer(), n=2000, seed=0)
    generator = find_task("ioi").generator
    assert isinstance(generator, TemplateGenerator)
    drawn = {w.strip(".,") for t in (*made.clean_text, *made.corrupted_text) for w in t.split()}
    assert set(generator.words["names"]) <= drawn


def test_published_docstring_circuit_exists_in_the_model_it_was_found_in():
    reference = find_reference("docstring")
    assert reference is not None
    assert len(reference.circuit(Topology(n_layers=4, n_heads=8, has_mlp=False))) == 24


def test_published_ioi_circuit_exists_in_gpt2_small_with_its_26_heads():
    reference = find_reference("ioi")
    assert reference is not None
    circuit = reference.circuit(Topology(n_layers=12, n_heads=12, has_mlp=True))
    assert {node for node in circuit.nodes if node.kind == "head"} == reference.heads
    assert len(reference.heads) == 26


def test_published_induction_circuit_is_a_path_from_input_to_logits():
    reference = find_reference("induction")
    assert reference is not None
    circuit = reference.circuit(Topology(n_layers=2, n_heads=8, has_mlp=False))
    assert circuit.live_edges == circuit.edges
