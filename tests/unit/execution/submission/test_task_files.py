from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.execution.submission.task_files import task_files
from tests.support import REPOSITORY

TEMPLATE = """
name: greet
title: Greeting
behaviour: "Hello" -> " Bob"
source: {paper: none}
generator:
  kind: template
  bos: true
  templates: ["{A} greets {B}"]
  slots: {A: names, B: others}
  corrupted: {A: fresh, B: fresh}
  words: {others: lists/others.txt}
answers: {correct: "{A}", incorrect: "{B}"}
metrics: {discovery: kl, report: []}
"""
PAIRS = """
name: greet
title: Greeting
behaviour: pairs
source: {paper: none}
generator: {kind: pairs, bos: false, file: pairs.jsonl}
metrics: {discovery: kl, report: []}
"""
PAIR = '{"clean": "a", "corrupted": "b", "correct": " c"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task's folder with everything in it that people leave there."""
    folder = tmp_path / "greet"
    (folder / "lists").mkdir(parents=True)
    (folder / "task.yaml").write_text(TEMPLATE.replace('"Hello" -> " Bob"', "greeting"))
    (folder / "names.txt").write_text("Ann\nBob\n")
    (folder / "lists" / "others.txt").write_text("Cid\nDan\n")
    (folder / "circuit.yaml").write_text("model: hf:a/b\nsource: none\nedges: [input->logits]\n")
    (folder / "pairs.jsonl").write_text(PAIR)
    for stray in ("README.md", "generate.py", "old.txt", ".env", "lists/more.txt"):
        (folder / stray).write_text("hunter2")
    return folder


def test_files_of_a_task_are_those_it_names_and_no_others(folder: Path):
    found = task_files(folder)
    assert sorted(found) == ["circuit.yaml", "lists/others.txt", "names.txt", "task.yaml"]
    assert found["names.txt"] == b"Ann\nBob\n"


def test_files_of_a_task_of_pairs_are_its_pairs(folder: Path):
    (folder / "task.yaml").write_text(PAIRS)
    assert sorted(task_files(folder)) == ["circuit.yaml", "pairs.jsonl", "task.yaml"]


def test_pairs_alone_are_one_file(folder: Path):
    assert task_files(folder / "pairs.jsonl") == {"pairs.jsonl": PAIR.encode()}


def test_name_with_a_detour_is_the_file_it_leads_to(folder: Path):
    path = folder / "task.yaml"
    path.write_text(path.read_text().replace("lists/others.txt", "../greet/lists/./others.txt"))
    assert "lists/others.txt" in task_files(folder)


def test_word_list_outside_of_the_folder_does_not_travel(folder: Path):
    (folder.parent / "secret.txt").write_text("hunter2\n")
    path = folder / "task.yaml"
    path.write_text(path.read_text().replace("lists/others.txt", "../secret.txt"))
    with pytest.raises(SpecError, match="leads out of the folder"):
        task_files(folder)


def test_word_list_that_is_a_link_out_of_the_folder_does_not_travel(folder: Path):
    (folder.parent / "secret.txt").write_text("hunter2\n")
    (folder / "lists" / "others.txt").unlink()
    (folder / "lists" / "others.txt").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(SpecError, match="leads out of the folder"):
        task_files(folder)


def test_word_list_that_is_inside_only_through_a_link_does_not_travel(folder: Path):
    """Beside the copy of the linked folder, that name would lead out of it."""
    link = folder.parent / "deeper" / "link"
    link.parent.mkdir()
    link.symlink_to(folder)
    path = folder / "task.yaml"
    path.write_text(path.read_text().replace("lists/others.txt", "../greet/lists/others.txt"))
    assert task_files(folder)
    with pytest.raises(SpecError, match="leads out of the folder"):
        task_files(link)


def test_task_by_name_is_found_where_tasks_are():
    found = task_files("ioi", REPOSITORY)
    assert found["task.yaml"] == (REPOSITORY / "tasks" / "ioi" / "task.yaml").read_bytes()
    assert "README.md" not in found


def test_unknown_task_is_refused():
    with pytest.raises(UnknownName):
        task_files("iou")
