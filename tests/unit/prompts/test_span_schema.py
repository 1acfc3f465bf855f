"""Spans proposed for prompts that have none: by hand, and the slots of templates found again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts import PromptSet, make_prompts
from acdc_pipeline.prompts.span_schema import apply_schema, match_parts, propose_schema
from acdc_pipeline.prompts.span_schema_file import pair_line, schema_text
from acdc_pipeline.specs import TaskSpec, find_task, parse
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.span_schema import Part, SpanSchema
from tests.unit.prompts.test_bundled_spans import zoo_tokenizer


def proposed(texts: Sequence[str], n_special: int = 0) -> tuple[SpanSchema, list[list[str]]]:
    prompts = [text.split() for text in texts]
    return propose_schema(prompts, [{}] * len(prompts), n_special), prompts


def shown(parts: Sequence[Part]) -> list[str]:
    """`name=text` of each part, or `name` and its number of tokens where it varies."""
    return [
        f"{part.span}={part.text}"
        if part.text is not None
        else f"{part.span} {part.tokens[0]}-{part.tokens[1]}"
        for part in parts
    ]


def test_constant_tokens_have_their_text_and_slots_a_number():
    schema, _ = proposed(["<s> in Rome we eat pizza now", "<s> in Oslo we eat fish now"], 1)
    (parts,) = schema.patterns
    assert shown(parts) == [
        "bos=<s>", "in=in", "slot1 1-1", "we=we", "eat=eat", "slot2 1-1", "END=now",
    ]  # fmt: skip


def test_slots_of_several_tokens_lie_between_what_is_constant():
    schema, prompts = proposed(
        ["the old man and the sea was to", "the big bad wolf and the pig was to"]
    )
    (parts,) = schema.patterns
    assert shown(parts) == [
        "the1=the", "slot1 2-3", "and=and", "the2=the", "slot2 1-1", "was=was", "END=to",
    ]  # fmt: skip
    named = apply_schema(schema, prompts, [{}, {}], ["", ""])
    assert named[1]["slot1"] == [1, 2, 3]
    assert named[1]["END"] == [8]


def test_the_position_of_the_answer_is_the_end_also_where_its_token_varies():
    schema, _ = proposed(["a b c", "d e f g"])
    (parts,) = schema.patterns
    assert shown(parts) == ["slot1 2-3", "END 1-1"]


def test_prompts_of_two_templates_have_two_patterns_and_share_what_both_have():
    schema, _ = proposed(
        [
            "then Ann , who met Bob , left to",
            "then Eve , who met Tom , left to",
            "it was cold when Ann , his sister , read to",
            "it was cold when Eve , his sister , read to",
        ]
    )
    first, second = schema.patterns
    assert shown(first) == [
        "rest=then", "slot1 1-1", "comma1=,", "rest=who", "rest=met", "slot2 1-1", "comma2=,",
        "rest=left", "END=to",
    ]  # fmt: skip
    assert [part.span for part in second if part.span != "rest"] == [
        "slot1", "comma1", "comma2", "END",
    ]  # fmt: skip


def test_tokens_that_equal_an_answer_are_named_by_it_and_numbered():
    texts = ["<s> Ann and Bob met , Ann gave to", "<s> Tom and Eve met , Eve gave to"]
    answers: list[dict[int, Any]] = [
        {1: "incorrect", 3: "correct", 6: "incorrect"},
        {1: "correct", 3: "incorrect", 6: "incorrect"},
    ]
    prompts = [text.split() for text in texts]
    schema = propose_schema(prompts, answers, 1)
    assert (schema.correct, schema.incorrect) == ("correct", "incorrect")
    renamed = schema.model_copy(update={"correct": "IO", "incorrect": "S"})
    first, second = apply_schema(renamed, prompts, answers, ["", ""])
    assert [first[name] for name in ("S1", "IO", "S2")] == [[1], [3], [6]]
    assert [second[name] for name in ("IO", "S1", "S2")] == [[1], [3], [6]]
    without = schema.model_copy(update={"correct": None, "incorrect": None})
    assert apply_schema(without, prompts, answers, ["", ""])[1]["slot2"] == [3]


def test_a_prompt_that_fits_no_pattern_is_refused_with_its_line():
    schema, _ = proposed(["a b c", "a d c"])
    with pytest.raises(PromptError, match=r"f.jsonl:2: patterns: 'x y c' fits none of 1 patterns"):
        apply_schema(schema, [["x", " y", " c"]], [{}], ["f.jsonl:2"])


PARTS = st.lists(
    st.one_of(
        st.sampled_from("ab").map(lambda text: Part(span="x", text=text)),
        st.tuples(st.integers(0, 2), st.integers(1, 2)).map(
            lambda gap: Part(span="x", tokens=(min(gap), max(gap)))
        ),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(PARTS, st.text("ab", max_size=7))
def test_parts_match_like_a_lazy_regular_expression(parts: list[Part], prompt: str):
    pattern = "".join(
        f"({part.text})" if part.text is not None else f"(.{{{part.tokens[0]},{part.tokens[1]}}}?)"
        for part in parts
    )
    match = re.fullmatch(pattern, prompt)
    expected = None if match is None else [match.start(i + 1) for i in range(len(parts))]
    assert match_parts(parts, list(prompt)) == expected


def stripped(prompts: PromptSet, tokenizer: Any) -> tuple[list[list[str]], list[dict[int, Any]]]:
    """The texts of tokens, and where answers stand."""
    texts, answers = [], []
    for row, length in enumerate(prompts.lengths.tolist()):
        ids = prompts.clean[row, :length].tolist()
        texts.append([str(tokenizer.decode([token])) for token in ids])
        answers.append(
            {
                position: "correct" if token in prompts.correct[row] else "incorrect"
                for position, token in enumerate(ids)
                if token in (*prompts.correct[row], *prompts.incorrect[row])
            }
        )
    return texts, answers


def only_template(task: TaskSpec, number: int) -> TaskSpec:
    plain = task.plain()
    plain["generator"]["templates"] = [plain["generator"]["templates"][number]]
    return parse(plain, TaskSpec, "task.yaml")


@pytest.mark.parametrize("template", [0, 7, 15])
def test_slots_of_a_template_are_found_again_from_its_prompts(template: int):
    tokenizer = zoo_tokenizer()
    task = only_template(find_task("ioi"), template)
    prompts = make_prompts(task, tokenizer, n=40, seed=0, positions="spans")
    assert prompts.spans is not None
    texts, answers = stripped(prompts, tokenizer)
    found = apply_schema(propose_schema(texts, answers, 1), texts, answers, [""] * 40)
    own = {"IO": "correct", "S1": "incorrect1", "S2": "incorrect2", "END": "END", "bos": "bos"}
    for row in range(40):
        positions = prompts.spans.positions_of(row)
        for name, proposal in own.items():
            assert found[row][proposal] == positions[name]
        for name in ("place", "object"):
            assert positions[name] in found[row].values()


@pytest.mark.parametrize(
    "name",
    ["ioi", "duplicate_token", "gendered_pronoun", "subject_verb_agreement", "colored_objects"],
)
def test_slots_of_many_templates_are_spans_of_their_own_again(name: str):
    tokenizer = zoo_tokenizer()
    prompts = make_prompts(find_task(name), tokenizer, n=120, seed=0, positions="spans")
    assert prompts.spans is not None
    texts, answers = stripped(prompts, tokenizer)
    found = apply_schema(propose_schema(texts, answers, 1), texts, answers, [""] * 120)
    for row in range(120):
        for span, positions in prompts.spans.positions_of(row).items():
            if span == "END" or (span != "rest" and not span.endswith("+1")):
                assert positions in found[row].values(), (row, span)


def test_the_file_of_a_schema_reads_back_as_the_schema():
    prompts = [
        ["<s>", "on", "é", "\x85", "\n\n  ", "yes", '"', "'", name, "\t", "to"]
        for name in ("Ann", "\U0001f600")
    ]
    schema = propose_schema(prompts, [{}, {}], 1)
    text = schema_text(schema, prompts, "mine")
    assert parse(yaml.safe_load(text), SpanSchema, "f.yaml") == schema
    assert "#" in text
    assert "é" in text
    assert "\x85" not in text


def test_long_examples_in_comments_are_cut_with_a_plain_ellipsis():
    text = schema_text(propose_schema([["on "] * 40], [{}], 0), [["on "] * 40], "mine")
    assert "on o…" in text


def test_the_line_of_a_pair_keeps_what_it_says_and_which_tokens_correspond():
    pair = PromptPair(
        clean="a b b c d",
        corrupted="a b c d",
        correct=("e",),
        bos=False,
        spans={"B": {"clean": (1, 2), "corrupted": (1,)}, "old": (0,)},  # pyright: ignore[reportArgumentType]
    )
    line = pair_line(pair, {"X": [0], "Y": [1, 3], "B": [4]})
    assert yaml.safe_load(line) == {
        "clean": "a b b c d",
        "corrupted": "a b c d",
        "correct": ["e"],
        "bos": False,
        "spans": {"B": {"clean": [1, 2], "corrupted": [1]}, "X": [0], "Y": [3]},
    }
