"""The task of a stored run is found again by its hash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput, SpecError, UnknownName
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.specs import RunSpec, find_task
from acdc_pipeline.specs.run_task import is_found_again, task_of_run
from tests import records


def write_pairs(path: Path, answer: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pair = {"clean": [0, 1], "corrupted": [2, 1], "correct": answer}
    path.write_text(json.dumps(pair), encoding="utf-8")
    return path


def run_of(path: Path) -> RunSpec:
    task = find_task(path)
    return records.spec().model_copy(
        update={"task": task.name, "task_hash": task.definition_hash()}
    )


def test_task_of_a_file_is_found_in_the_current_folder_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = run_of(write_pairs(tmp_path / "away/My toy.jsonl"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match=r"'my-toy' is neither") as raised:
        task_of_run(run)
    assert "--task my-toy.jsonl" in str(raised.value)
    write_pairs(tmp_path / "my-toy.jsonl", answer=4)
    with pytest.raises(InvalidInput, match="has changed since this run"):
        task_of_run(run)
    (tmp_path / "my_toy.jsonl").write_text("no pair", encoding="utf-8")  # another name
    (tmp_path / "my-TOY.jsonl").write_text("no pair", encoding="utf-8")  # same name, unreadable
    write_pairs(tmp_path / "My toy.jsonl")
    assert task_of_run(run).definition_hash() == run.task_hash


def test_task_in_a_folder_of_tasks_is_found_where_a_known_one_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tasks/ioi"
    folder.mkdir(parents=True)
    pair = '{"clean": [0, 1], "corrupted": [2, 1], "correct": 3}'
    (folder / "task.yaml").write_text(
        "name: ioi\ntitle: a\nbehaviour: b\nsource: {paper: c}\n"
        f"generator: {{kind: pairs, bos: false, pairs: [{pair}]}}\n"
        "metrics: {discovery: kl, report: [accuracy]}\n",
        encoding="utf-8",
    )
    run = run_of(folder)
    assert task_of_run(run).generator.kind == "pairs"
    assert is_found_again("tasks/ioi", "ioi")
    assert not is_found_again("tasks/ioi", "other")


def test_task_given_for_a_run_needs_its_hash(tmp_path: Path):
    right = write_pairs(tmp_path / "toy.jsonl")
    run = run_of(right)
    assert task_of_run(run, str(right)) == find_task(right)
    other = write_pairs(tmp_path / "b/toy.jsonl", answer=4)
    with pytest.raises(InvalidInput, match="is not the task of this run") as raised:
        task_of_run(run, str(other))
    assert raised.value.field == "--task"
    with pytest.raises(UnknownName, match="unknown task 'ioj'"):
        task_of_run(run, "ioj")
    with pytest.raises(SpecError, match="no such file"):
        task_of_run(run, str(tmp_path / "none.jsonl"))


def test_hint_names_files_that_are_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_pairs(tmp_path / "here/toy.jsonl")
    monkeypatch.chdir(tmp_path / "here")
    assert is_found_again("ioi", "ioi")
    assert is_found_again("toy.jsonl", "toy")
    monkeypatch.chdir(tmp_path)
    assert not is_found_again("here/toy.jsonl", "toy")


def test_a_run_with_spans_belongs_to_the_task_with_its_spans_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"clean": "a b", "corrupted": "c b", "correct": " d"}
    path = Path("mine.jsonl")
    path.write_text(json.dumps({**row, "spans": {"S": [0]}}))
    task = find_task(path)
    run = plan_run(
        task,
        "zoo:compiled-sum",
        method=records.spec().method,
        prompts=1,
        seed=0,
        dtype="float32",
        positions="spans",
    )
    assert run.spans_hash == task.spans_hash()
    assert task_of_run(run) == task
    path.write_text(json.dumps({**row, "spans": {"T": [0]}}))
    again = plan_run(
        find_task(path),
        "zoo:compiled-sum",
        method=run.method,
        prompts=1,
        seed=0,
        dtype="float32",
        positions="spans",
    )
    assert again.run_id() != run.run_id()
    with pytest.raises(InvalidInput, match="'mine' has changed since this run was made"):
        task_of_run(run)
    none = {"positions": "none", "spans_hash": ""}
    assert run.model_copy(update=none).run_id() == again.model_copy(update=none).run_id()
    assert "spans_hash" not in run.model_copy(update=none).plain()
