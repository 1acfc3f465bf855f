"""The years generator in task.yaml: what it takes and what it rejects."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission.task_files import task_files
from acdc_pipeline.specs import TaskSpec, load_yaml
from acdc_pipeline.specs.generators import YearsGenerator
from acdc_pipeline.workflows.forecast import rough_tokens

YEARS = """\
name: later
title: Later
behaviour: a war -> a year
source: {paper: none}
generator:
  kind: years
  bos: true
  templates: ["The {noun} went from {century}{year} to {century}"]
  nouns: events
  centuries: [16, 17]
  starts: [2, 98]
  corrupted: {year: 1}
metrics: {discovery: prob_diff, report: []}
"""


def write(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in YEARS
    (folder / "task.yaml").write_text(YEARS.replace(old, new, 1) if old else YEARS)
    (folder / "events.txt").write_text("war\nsiege\n")
    return folder / "task.yaml"


def test_nouns_are_read_from_the_txt_beside(tmp_path: Path):
    task = load_yaml(write(tmp_path), TaskSpec)
    assert isinstance(task.generator, YearsGenerator)
    assert task.generator.words == {"events": ("war", "siege")}
    assert TaskSpec.from_plain(task.plain()) == task


def test_files_of_a_task_are_its_yaml_and_its_nouns(tmp_path: Path):
    write(tmp_path)
    assert sorted(task_files(tmp_path)) == ["events.txt", "task.yaml"]


def test_rough_length_is_within_two_tokens_of_a_prompt(tmp_path: Path):
    # <bos> The war went from 17 32 to 17
    assert abs(rough_tokens(load_yaml(write(tmp_path), TaskSpec)) - 9) <= 2


BAD = [
    ("nouns: events", "nouns: evnts", "nouns", "unknown word list 'evnts'", "none are defined"),
    ("[16, 17]", "[17, 16]", "centuries", "17 is more than 16", "[least, most]"),
    ("[16, 17]", "[9, 17]", "centuries.0", "9 is not at least 10", ""),
    ("[2, 98]", "[2, 99]", "starts", "no year of the century is after 99", "at most 98"),
    ("[2, 98]", "[1, 1]", "corrupted.year", "nothing differs", ""),
    ("{year: 1}", "{yaer: 1}", "corrupted.yaer", "unknown key", "mean 'year'?"),
    ("{noun}", "{event}", "templates.0", "unknown placeholder 'event'", "noun, century, year"),
    ("{noun}", "war", "templates.0", "does not ask for a year", "one {noun}"),
    ("to {century}", "to", "templates.0", "does not ask for a year", "{century} at the end"),
    ("to {century}", "to {century} or", "templates.0", "does not ask", "{century} at the end"),
    ("{century}{year}", "{year}{century}", "templates.0", "does not ask", "{century}{year}"),
    ("metrics", "answers: {correct: a, incorrect: b}\nmetrics", "answers", "knows its", "remove"),
]


@pytest.mark.parametrize(("old", "new", "field", "problem", "advice"), BAD)
def test_years_with_a_mistake_are_rejected_naming_field_and_fix(
    tmp_path: Path, old: str, new: str, field: str, problem: str, advice: str
):
    with pytest.raises(SpecError) as raised:
        load_yaml(write(tmp_path, old, new), TaskSpec)
    own = field if field == "answers" else f"generator.{field}"
    assert raised.value.field == own
    assert problem in raised.value.problem
    assert advice in f"{raised.value.problem} {raised.value.allowed} {raised.value.fix}"
