"""Finding tasks, profiles and sweeps: explicit path, then project, then bundled."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.specs import (
    bundled_folder,
    find_profile,
    find_project,
    find_reference,
    find_sweep,
    find_task,
    list_tasks,
)
from tests.specs_text import write_task


def test_task_of_the_project_hides_its_bundled_namesake(tmp_path: Path):
    path = write_task(tmp_path / "tasks")
    assert list_tasks(tmp_path)["ioi"] == path
    assert find_task("ioi", tmp_path).behaviour.startswith("Mary and John")


def test_task_folder_and_file_are_found_by_path(tmp_path: Path):
    path = write_task(tmp_path)
    assert find_task(path) == find_task(path.parent) == find_task(str(path.parent))


def test_task_unknown_names_the_nearest(tmp_path: Path):
    write_task(tmp_path / "tasks")
    with pytest.raises(UnknownName, match="unknown task 'ioj'") as raised:
        find_task("ioj", tmp_path)
    assert "did you mean 'ioi'?" in raised.value.problem


def test_task_path_that_does_not_exist_is_named(tmp_path: Path):
    for name in ("x/task.yaml", "x.jsonl"):
        with pytest.raises(SpecError, match="no such file"):
            find_task(tmp_path / name)


def test_reference_of_a_task_without_one_is_none(tmp_path: Path):
    assert find_reference(write_task(tmp_path).parent) is None


def test_project_is_the_nearest_folder_above_that_is_one(tmp_path: Path):
    write_task(tmp_path / "tasks")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert find_project(inside) == tmp_path
    (tmp_path / "a" / "acdc.yaml").touch()
    assert find_project(inside) == tmp_path / "a"


def test_profile_and_sweep_that_ship_are_found_and_valid(tmp_path: Path):
    assert find_profile("laptop", tmp_path).executor == "local"
    assert find_sweep("demo", tmp_path).name == "demo"


def test_sweep_of_the_project_hides_its_bundled_namesake(tmp_path: Path):
    folder = tmp_path / "deploy" / "sweeps"
    folder.mkdir(parents=True)
    text = (bundled_folder() / "deploy/sweeps/demo.yaml").read_text()
    (folder / "demo.yaml").write_text(text.replace("prompts: 64", "prompts: 3"))
    assert find_sweep("demo", tmp_path).prompts == 3


def test_profile_unknown_names_the_nearest(tmp_path: Path):
    with pytest.raises(UnknownName, match="unknown worker profile 'labtop'") as raised:
        find_profile("labtop", tmp_path)
    assert "did you mean 'laptop'?" in raised.value.problem
