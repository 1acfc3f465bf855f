"""Which token has which span: prompts and spans spelled out by hand."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import Pair, PromptSet, align, make_prompts
from acdc_pipeline.prompts.form import number_names
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import spaced_word_tokenizer, word_tokenizer

NAMES = ["Mary", "John", "Tom", "Ann", "Sam", "Eve"]
WORDS = word_tokenizer([*NAMES, "Then", "and", "went", "to", "the", "store", "gave", "it", "now"])


def template_task(templates: list[str], **generator: object) -> TaskSpec:
    data = {
        "name": "ioi",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {
            "kind": "template",
            "bos": True,
            "templates": templates,
            "slots": {"A": "names", "B": "names"},
            "words": {"names": NAMES},
            "roles": {"S": ["A", "B"], "IO": "other"},
            "corrupted": {"A": "fresh", "B": "fresh", "S": "fresh"},
        }
        | generator,
        "answers": {"correct": "{IO}", "incorrect": "{S}"},
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


def marked(prompts: PromptSet, row: int, tokenizer=WORDS) -> list[tuple[str, str]]:
    """Each token of a prompt with its span."""
    assert prompts.spans is not None
    tokens = tokenizer.convert_ids_to_tokens(prompts.clean[row].tolist())
    names = prompts.spans.names_of(row)
    return list(zip(tokens, names, strict=False))


def test_slots_are_called_like_the_roles_they_have_and_numbered_where_repeated():
    task = template_task(["Then, {A} and {B} went to the store. {S} gave it to"])
    prompts = make_prompts(task, WORDS, n=2, seed=0, positions="spans")
    names_of = {
        "A": ["S1", "S1+1", "IO", "IO+1"],
        "B": ["IO", "IO+1", "S1", "S1+1"],
    }
    for row in range(2):
        (first,) = (
            slot for role in prompts.roles[row] for r, slot, _ in [role.split("=")] if r == "S"
        )
        assert [name for _, name in marked(prompts, row)] == [
            "bos", "rest", "rest",                      # <bos> Then ,
            *names_of[first],                           # Mary and John went
            "rest", "rest", "rest", "rest",             # to the store .
            "S2", "S2+1", "rest", "END",                # John gave it to
        ]  # fmt: skip
    assert prompts.spans is not None
    assert prompts.spans.names[0] == "bos"
    assert prompts.spans.names[-1] == "END"


def test_a_slot_at_the_end_is_the_position_of_the_answer():
    task = template_task(["Then {A} went to {B} and {S}"])
    prompts = make_prompts(task, WORDS, n=1, seed=0, positions="spans")
    tokens, names = zip(*marked(prompts, 0), strict=True)
    assert tokens[0] == "<bos>"
    assert names[-1] == "END"
    assert "S1" in names
    assert "S2" not in names


def test_spaces_that_belong_to_tokens_belong_to_their_slots():
    tokenizer = spaced_word_tokenizer([*NAMES, "Then", "and", "to"])
    pair = Pair(
        "Then Mary and John to", "Then Tom and Sam to", ("Mary",), (), slots=(("IO", 5, 9),)
    )
    prompts = align([pair], tokenizer, bos=True, name="t", positions="spans")
    assert marked(prompts, 0, tokenizer) == [
        ("<s>", "bos"),
        ("▁Then", "rest"),
        ("▁Mary", "IO"),
        ("▁and", "IO+1"),
        ("▁John", "rest"),
        ("▁to", "END"),
    ]


def test_a_slot_of_two_words_is_a_span_of_both_tokens():
    text = "Then Mary Ann and John to"
    pair = Pair(text, text, ("Mary",), (), slots=(("IO", 5, 13),))
    prompts = align([pair], WORDS, bos=False, name="t", positions="spans")
    assert [name for _, name in marked(prompts, 0)] == ["rest", "IO", "IO", "IO+1", "rest", "END"]


def test_named_positions_count_the_beginning_token_and_overrule_the_end():
    text = "Then Mary and John"
    pair = Pair(text, text, ("Mary",), (), named=(("S", (2, 4)),))
    prompts = align([pair], WORDS, bos=True, name="t", positions="spans")
    assert [name for _, name in marked(prompts, 0)] == ["bos", "rest", "S", "rest", "S"]


def test_tokens_of_a_whole_answer_follow_the_end():
    text = "Then Mary and"
    pair = Pair(text, text, ("John and Tom",), ("Ann",), named=(("S", (1,)),), whole=True)
    prompts = align([pair], WORDS, bos=False, name="t", positions="spans")
    assert prompts.spans is not None
    assert [prompts.spans.names_of(row) for row in range(2)] == [
        ["rest", "S", "END", "answer", "answer"],
        ["rest", "S", "END"],
    ]
    assert prompts.spans.names == ("rest", "S", "END", "answer")


def test_spans_of_prompts_without_any_are_refused_with_the_fix():
    pair = Pair("Then Mary", "Then John", ("Tom",), (), where="f.jsonl:1")
    with pytest.raises(PromptError, match=r"f.jsonl:1: spans: the prompts have no spans"):
        align([pair], WORDS, bos=False, name="t", positions="spans")


@pytest.mark.parametrize(("other", "proposed"), [("Then Mary", True), ("Then Mary now", False)])
def test_tokens_are_proposed_instead_of_spans_for_prompts_of_one_length_only(other, proposed):
    pairs = [Pair(text, text, ("Tom",), (), where="f.jsonl:1") for text in ("Then John", other)]
    with pytest.raises(PromptError) as caught:
        align(pairs, WORDS, bos=False, name="t", positions="spans")
    assert "`acdc tasks spans FILE`" in str(caught.value)
    assert ("or use positions 'tokens'" in str(caught.value)) == proposed


@pytest.mark.parametrize("positions", ["none", "spans", "tokens"])
def test_a_position_behind_the_prompt_is_refused_with_its_length(positions):
    pair = Pair("Then Mary", "Then John", ("Tom",), (), named=(("S", (1, 2)),), where="f.jsonl:3")
    with pytest.raises(PromptError, match=r"f.jsonl:3: spans.S: 2 is not a token of a prompt of 2"):
        align([pair], WORDS, bos=False, name="t", positions=positions)


def test_a_slot_inside_a_token_is_refused():
    pair = Pair("Then Mary now", "Then John now", ("Tom",), (), slots=(("S", 5, 7),))
    with pytest.raises(PromptError, match="merges 'S' with the text beside it"):
        align([pair], WORDS, bos=False, name="t", positions="spans")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["A", "B"]], [("A", "B")]),
        ([["S", "IO", "S"]], [("S1", "IO", "S2")]),
        ([["S", "IO", "S"], ["IO", "S"]], [("S1", "IO", "S2"), ("IO", "S1")]),
        ([["object2", "object2"]], [("object2.1", "object2.2")]),
        ([["S", "S1", "S"]], [("S.1", "S1", "S.2")]),
    ],
)
def test_repeated_names_are_numbered_in_every_text(rows, expected):
    assert number_names(rows) == expected
