"""The generators other than templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import PairsGenerator, TaskSpec, find_task, load_yaml, parse, read_pairs

HEAD: dict[str, Any] = {
    "name": "t",
    "title": "T",
    "behaviour": "b",
    "source": {"paper": "p"},
    "metrics": {"discovery": "kl", "report": ["accuracy"]},
}
REPEATED: dict[str, Any] = {
    "kind": "repeated_tokens",
    "length": [12, 20],
    "period": [4, 8],
    "bos": False,
    "corrupted": "first_copy",
    "answers": "last",
}
DOCSTRING: dict[str, Any] = {
    "kind": "docstring",
    "bos": True,
    "arguments": 6,
    "before": 0,
    "documented": 2,
    "summary_words": 3,
    "description_words": 2,
    "functions": "functions",
    "names": "names",
    "nouns": "nouns",
    "words": {"functions": ["port"], "names": ["load", "size"], "nouns": ["oil", "unit"]},
    "corrupted": {"signature": "fresh", "docstring": "fresh"},
}


def task_with(generator: dict[str, Any], **changes: Any) -> TaskSpec:
    return parse({**HEAD, "generator": {**generator, **changes}}, TaskSpec, "task.yaml")


@pytest.mark.parametrize("generator", [REPEATED, DOCSTRING])
def test_generator_as_documented_is_accepted(generator: dict[str, Any]):
    assert task_with(generator).generator.kind == generator["kind"]


@pytest.mark.parametrize("field", sorted(set(REPEATED) - {"kind"}))
def test_repeated_tokens_has_no_silent_default(field: str):
    generator = {key: value for key, value in REPEATED.items() if key != field}
    with pytest.raises(SpecError, match="is missing") as raised:
        task_with(generator)
    assert raised.value.field == f"generator.{field}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"length": [8, 20]}, "generator.length"),
        ({"length": [20, 12]}, "generator.length"),
        ({"period": [1, 8]}, "generator.period.0"),
        ({"period": [8]}, "generator.period.1"),
        ({"corrupted": "all"}, "generator.corrupted"),
    ],
)
def test_repeated_tokens_that_cannot_repeat_are_rejected(changes: dict[str, Any], field: str):
    with pytest.raises(SpecError) as raised:
        task_with(REPEATED, **changes)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"arguments": 2}, "generator.arguments"),
        ({"names": "nams"}, "generator.names"),
        ({"corrupted": {"signature": "keep", "docstring": "keep"}}, "generator.corrupted"),
        ({"corrupted": {"signature": "fresh"}}, "generator.corrupted.docstring"),
    ],
)
def test_docstring_with_a_mistake_is_rejected(changes: dict[str, Any], field: str):
    with pytest.raises(SpecError) as raised:
        task_with(DOCSTRING, **changes)
    assert raised.value.field == field


def test_generator_that_knows_its_answers_rejects_others():
    data = {**HEAD, "generator": REPEATED, "answers": {"correct": "x", "incorrect": "y"}}
    with pytest.raises(SpecError, match="knows its answers"):
        parse(data, TaskSpec, "task.yaml")


PAIR = '{"clean": "a b", "corrupted": "c d", "correct": "e", "incorrect": ["f", "g"]}\n'


def test_pairs_file_is_read_into_the_task_and_hashed_by_content(tmp_path: Path):
    (tmp_path / "pairs.jsonl").write_text(PAIR)
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: t\ntitle: T\nbehaviour: b\nsource: {paper: p}\n"
        "generator: {kind: pairs, bos: false, file: pairs.jsonl}\n"
        "metrics: {discovery: kl, report: []}\n"
    )
    loaded = load_yaml(task, TaskSpec)
    assert isinstance(loaded.generator, PairsGenerator)
    assert loaded.generator.pairs[0].incorrect == ("f", "g")
    bare = find_task(tmp_path / "pairs.jsonl")
    assert bare.name == "pairs"
    assert bare.definition_hash() == loaded.definition_hash()
    (tmp_path / "renamed.jsonl").write_text(PAIR)
    assert find_task(tmp_path / "renamed.jsonl").definition_hash() == bare.definition_hash()
    (tmp_path / "pairs.jsonl").write_text(PAIR.replace("a b", "a c"))
    assert load_yaml(task, TaskSpec).definition_hash() != bare.definition_hash()


def test_pairs_may_be_token_ids_and_answers_single_or_listed(tmp_path: Path):
    path = tmp_path / "ids.jsonl"
    path.write_text('{"clean": [1, 2], "corrupted": [3, 4], "correct": 5}\n\n' + PAIR)
    first, second = read_pairs(path).values()
    assert (first.clean, first.correct, first.incorrect) == ((1, 2), (5,), ())
    assert second.correct == ("e",)


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("{", None, "is not JSON"),
        ('{"clean": "a', None, "is not JSON: Unterminated string starting at column 11"),
        ('{"clean": "a", "corrupted": "b"}', "correct", "is missing"),
        (PAIR.replace("corrupted", "corupted"), "corupted", "unknown key"),
        (PAIR.replace('"e"', "[]"), "correct", "is not at least 1 long"),
        (PAIR.replace('"a b"', "true"), "clean", "true does not fit"),
        (PAIR.replace('"a b"', '""'), "clean", "'' is not at least 1 long"),
        ("[1]", None, "is not a set of keys and values"),
        (PAIR.replace('"clean"', '"clean": "b", "clean"'), "clean", "is there twice"),
        (PAIR.replace('["f", "g"]', '["f", "e"]'), "incorrect", "'e' is a correct answer too"),
        (PAIR.replace('"a b"', "[1.0, 2.5]"), "clean", "[1.0, 2.5] does not fit"),
        ("[" * 100_000, None, "is nested too deeply"),
        (PAIR.replace('"e"', "1" * 5000), None, "too many digits"),
    ],
)
def test_pairs_line_with_a_mistake_is_named(
    tmp_path: Path, line: str, field: str | None, problem: str
):
    path = tmp_path / "pairs.jsonl"
    path.write_text(PAIR + line)
    with pytest.raises(SpecError) as raised:
        read_pairs(path)
    assert raised.value.where == f"{path}:2"
    assert raised.value.field == field
    assert problem in raised.value.problem


def test_pairs_line_that_is_not_utf8_is_named(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(PAIR.encode() + PAIR.replace("a b", "\xe4 b").encode("latin-1"))
    with pytest.raises(SpecError, match=r"pairs\.jsonl:2: cannot be read: is not UTF-8"):
        read_pairs(path)


def test_pairs_of_other_editors_are_read_as_they_mean(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    text = PAIR.replace("a b", "a\u2028b").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (pair,) = read_pairs(path).values()
    assert pair.clean == "a\u2028b"


def test_pairs_that_are_neither_text_nor_ids_say_what_they_may_be(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(PAIR.replace('"a b"', "[1.0, 2.5]"))
    with pytest.raises(SpecError) as raised:
        read_pairs(path)
    assert "token ids" in (raised.value.allowed or "")


def test_pairs_line_that_is_not_json_says_how_lines_look(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("clean: a\n")
    with pytest.raises(SpecError) as raised:
        read_pairs(path)
    assert raised.value.fix == (
        'write lines like {"clean": "…", "corrupted": "…", "correct": "…", "incorrect": "…"}'
    )


def test_pairs_file_without_pairs_is_rejected(tmp_path: Path):
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(SpecError, match="holds no prompt pair"):
        read_pairs(tmp_path / "none.jsonl")
