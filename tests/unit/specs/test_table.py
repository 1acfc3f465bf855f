"""Tables in task.yaml and in .csv files: what they mean, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission.task_files import task_files
from acdc_pipeline.specs import TaskSpec, load_yaml
from acdc_pipeline.specs.files import read_table
from acdc_pipeline.specs.generators import TableGenerator
from acdc_pipeline.workflows.forecast import rough_tokens

CAPITALS = """\
name: capitals
title: Capitals
behaviour: The capital of France is -> Paris
source: {paper: none}
generator:
  kind: table
  bos: true
  templates: ["The capital of {country} is"]
  rows: capitals.csv
  split: country
  corrupted: {row: fresh}
answers: {correct: "{capital}", incorrect: "{fresh_capital}"}
metrics: {discovery: kl, report: []}
"""
CSV = "country,capital\nFrance,Paris\nItaly,Rome\n"

NUMBER = """\
name: number
title: Number
behaviour: The dog -> is
source: {paper: none}
generator:
  kind: table
  bos: true
  templates: ["The {noun}"]
  rows:
    - {noun: dog, other: dogs, verb: is}
    - {noun: dogs, other: dog, verb: are}
  split: noun
  corrupted: {noun: other}
answers: {correct: "{verb}", incorrect: []}
metrics: {discovery: kl, report: []}
"""


def write(folder: Path, text: str, old: str = "", new: str = "", csv: str = CSV) -> Path:
    """A task's folder with `old` replaced by `new` in its task.yaml."""
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / "task.yaml").write_text(text.replace(old, new, 1) if old else text)
    (folder / "capitals.csv").write_text(csv)
    return folder / "task.yaml"


def table_of(path: Path) -> TableGenerator:
    generator = load_yaml(path, TaskSpec).generator
    assert isinstance(generator, TableGenerator)
    return generator


def test_rows_of_a_csv_are_read_by_column(tmp_path: Path):
    table = table_of(write(tmp_path, CAPITALS))
    assert table.rows == (
        {"country": "France", "capital": "Paris"},
        {"country": "Italy", "capital": "Rome"},
    )
    assert table.placeholders == ("country", "capital", "fresh_country", "fresh_capital")


def test_rows_inline_and_in_a_file_are_one_task(tmp_path: Path):
    rows = "[{country: France, capital: Paris}, {country: Italy, capital: Rome}]"
    inline = load_yaml(write(tmp_path / "a", CAPITALS, "capitals.csv", rows), TaskSpec)
    in_file = load_yaml(write(tmp_path / "b", CAPITALS), TaskSpec)
    assert inline.definition_hash() == in_file.definition_hash()


def test_hash_changes_with_a_word_of_the_table(tmp_path: Path):
    before = load_yaml(write(tmp_path, CAPITALS), TaskSpec).definition_hash()
    changed = write(tmp_path, CAPITALS, csv=CSV.replace("Rome", "Milan"))
    assert load_yaml(changed, TaskSpec).definition_hash() != before


def test_task_of_a_table_survives_plain_data_unchanged(tmp_path: Path):
    task = load_yaml(write(tmp_path, NUMBER), TaskSpec)
    assert TaskSpec.from_plain(task.plain()) == task


def test_files_of_a_task_are_its_yaml_and_its_table(tmp_path: Path):
    write(tmp_path, CAPITALS)
    (tmp_path / "old.csv").write_text(CSV)
    assert sorted(task_files(tmp_path)) == ["capitals.csv", "task.yaml"]


def test_files_of_a_task_with_rows_inline_are_its_yaml(tmp_path: Path):
    write(tmp_path, NUMBER)
    assert sorted(task_files(tmp_path)) == ["task.yaml"]


def test_rough_length_counts_the_words_of_the_template(tmp_path: Path):
    # <bos> The capital of France is
    assert rough_tokens(load_yaml(write(tmp_path, CAPITALS), TaskSpec)) == 6


def test_csv_quotes_blank_lines_spaces_and_a_byte_order_mark_do_not_count(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text('\ufeffcountry, capital\n\n "France" , Paris \n,\n"Italy",Rome\n')
    assert read_table(path)[1:] == [{"country": "Italy", "capital": "Rome"}]
    assert [row["capital"] for row in read_table(path)] == ["Paris", "Rome"]


BAD_FILES = [
    ("", "", "holds no table", "column names"),
    ("country,capital\n", "", "holds no row", "one row per line"),
    ("a,a\nb,c\n", ":1", "the column 'a' is there twice", ""),
    ("a,b\nc,d\ne\n", ":3", "has 1 cells, and the table 2 columns", "a, b"),
    ("a,b\nc,\n", ":2", "is empty", "write a word there"),
    ('a,b\nc,"d\n', ":2", "is not CSV", "column names"),
]


@pytest.mark.parametrize(("text", "line", "problem", "advice"), BAD_FILES)
def test_csv_with_a_mistake_is_rejected_naming_its_line(
    tmp_path: Path, text: str, line: str, problem: str, advice: str
):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(SpecError) as raised:
        read_table(path)
    assert raised.value.where == f"{path}{line}"
    assert problem in raised.value.problem
    assert advice in f"{raised.value.problem} {raised.value.allowed} {raised.value.fix}"


BAD_TASKS = [
    (CAPITALS, "capitals.csv", "capital.csv", "rows", "no such file 'capital.csv'", ".csv beside"),
    (CAPITALS, "capitals.csv", "../c.csv", "rows", "leads out of the folder", "beside"),
    (CAPITALS, "  rows: capitals.csv\n", "", "rows", "is missing", ".csv beside"),
    (CAPITALS, "capitals.csv", "[]", "rows", "at least 1", "at least 1"),
    (CAPITALS, "split: country", "split: county", "split", "unknown column", "mean 'country'?"),
    (CAPITALS, "  split: country\n", "", "split", "is missing", "rows are held out"),
    (
        CAPITALS,
        "split: country",
        "split: country\n  group: x",
        "group",
        "unknown column 'x'",
        "capital",
    ),
    (CAPITALS, "row: fresh", "row: frsh", "corrupted", "cannot be read", "{row: fresh} alone"),
    (CAPITALS, "row: fresh", "row: fresh, country: capital", "corrupted", "cannot", "alone"),
    (
        CAPITALS,
        "{country} is",
        "{county} is",
        "templates.0",
        "unknown column 'county'",
        "'country'?",
    ),
    (CAPITALS, "{country} is", "{fresh_country}", "templates.0", "unknown column", "country"),
    (CAPITALS, "{country}", "France", "templates.0", "nothing in it differs", "{country}"),
    (NUMBER, "{noun: other}", "{non: other}", "corrupted.non", "unknown column 'non'", "row, noun"),
    (NUMBER, "{noun: other}", "{noun: othr}", "corrupted.noun", "'othr'", "mean 'other'?"),
    (NUMBER, "The {noun}", "The {verb}", "templates.0", "nothing in it differs", "{noun}"),
    (NUMBER, "split: noun", "split: noun\n  group: verb", "group", "of no use", "remove it"),
    (NUMBER, "other: dogs", "other: dog", "rows.0", "noun and other are 'dog'", "remove the row"),
    (NUMBER, "noun: dogs, other: dog, verb: are", "noun: dogs", "rows.1.other", "is missing", ""),
    (NUMBER, "verb: is", "verb: is, x: y", "rows.1.x", "is missing", "write a word"),
    (NUMBER, "verb: is", 'verb: " is"', "rows.0.verb", "' is' is not a word", "without spaces"),
    (NUMBER, "dogs, other: dog, verb: are", "dog, other: dogs, verb: is", "rows.1", "twice", ""),
    (NUMBER, "verb: is", "verb: is, row: a", "rows", "'row' cannot be the name", "letters"),
]


@pytest.mark.parametrize(("text", "old", "new", "field", "problem", "advice"), BAD_TASKS)
def test_table_with_a_mistake_is_rejected_naming_field_and_fix(
    tmp_path: Path, text: str, old: str, new: str, field: str, problem: str, advice: str
):
    _expect(write(tmp_path, text, old, new), f"generator.{field}", problem, advice)


BAD_ANSWERS = [
    (CAPITALS, '"{capital}", ', '"{city}", ', "correct", "unknown column 'city'", "capital"),
    (CAPITALS, '"{capital}", ', '"{fresh_capital}", ', "correct", "unknown column", "capital"),
    (CAPITALS, '"{fresh_capital}"', '"{fresh_city}"', "incorrect", "'fresh_city'", "fresh_capital"),
    (NUMBER, "incorrect: []", 'incorrect: "{fresh_verb}"', "incorrect", "'fresh_verb'", "verb"),
    (NUMBER, "incorrect: []", "incorrect: are", "incorrect", "row 2 makes 'are' a correct", "row"),
]


@pytest.mark.parametrize(("text", "old", "new", "field", "problem", "advice"), BAD_ANSWERS)
def test_answer_that_a_table_cannot_give_is_rejected(
    tmp_path: Path, text: str, old: str, new: str, field: str, problem: str, advice: str
):
    _expect(write(tmp_path, text, old, new), f"answers.{field}", problem, advice)


def test_table_without_answers_says_what_to_add(tmp_path: Path):
    path = write(tmp_path, NUMBER, 'answers: {correct: "{verb}", incorrect: []}\n', "")
    _expect(path, "answers", "is missing", "correct")


def _expect(path: Path, field: str, problem: str, advice: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_yaml(path, TaskSpec)
    assert raised.value.field == field
    assert problem in raised.value.problem
    assert advice in f"{raised.value.problem} {raised.value.allowed} {raised.value.fix}"
