"""Every file that an operator edits is valid, and the files agree with one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_pipeline.models.zoo import list_zoo
from acdc_pipeline.specs import (
    ReferenceCircuit,
    SweepSpec,
    TaskSpec,
    WorkerProfile,
    find_task,
    list_tasks,
    load_yaml,
)
from tests.support import REPOSITORY


def _files(pattern: str) -> list[Path]:
    return [path.relative_to(REPOSITORY) for path in sorted(REPOSITORY.glob(pattern))]


KINDS: dict[str, Callable[[Path], object]] = {
    "tasks/*/task.yaml": lambda path: load_yaml(path, TaskSpec),
    "tasks/*/circuit.yaml": lambda path: load_yaml(path, ReferenceCircuit),
    "workers/*.yaml": lambda path: load_yaml(path, WorkerProfile),
    "deploy/sweeps/*.yaml": lambda path: load_yaml(path, SweepSpec),
}
FILES = [(load, path) for pattern, load in KINDS.items() for path in _files(pattern)]


@pytest.mark.parametrize("pattern", KINDS)
def test_data_folder_holds_at_least_one_file(pattern: str):
    assert _files(pattern)


@pytest.mark.parametrize(("load", "path"), FILES, ids=[str(path) for _, path in FILES])
def test_yaml_file_is_valid(load: Callable[[Path], object], path: Path):
    load(REPOSITORY / path)


def test_yaml_files_of_the_data_folders_are_all_of_a_known_kind():
    known = {path for _, path in FILES}
    folders = ("tasks", "workers", "deploy/sweeps")
    present = {
        path.relative_to(REPOSITORY)
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*.y*ml")
    }
    assert present - known == set()


@pytest.mark.parametrize("path", _files("tasks/*/task.yaml"), ids=str)
def test_task_is_called_like_its_folder_and_explains_itself(path: Path):
    assert find_task(REPOSITORY / path.parent).name == path.parent.name
    assert (REPOSITORY / path).with_name("README.md").is_file()


@pytest.mark.parametrize("path", _files("deploy/sweeps/*.yaml"), ids=str)
def test_sweep_names_only_tasks_and_models_that_exist(path: Path):
    sweep = load_yaml(REPOSITORY / path, SweepSpec)
    assert sweep.name == path.stem
    assert set(sweep.tasks) <= set(list_tasks(REPOSITORY))
    named = {ref.name for ref in sweep.model_refs(list_zoo()) if ref.kind == "zoo"}
    assert named <= set(list_zoo())
