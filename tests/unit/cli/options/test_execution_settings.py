"""On what a sweep executes: command line over environment over acdc.yaml over profile."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.main import get_command

from acdc_pipeline.cli.app import default_map
from acdc_pipeline.cli.main import app
from acdc_pipeline.cli.options.sweep import read_settings
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.workflows.executors import (
    ExecutionSettings,
    execution_settings,
    make_executor,
)

PROFILE = """\
executor: local
actors: 2
cpus: 3
gpus: 0
dtype: float64
memory: 1MiB
attempts: 1
checkpoint: 5s
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a worker profile of its own, as the working directory."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "mine.yaml").write_text(PROFILE)
    (tmp_path / "acdc.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(*words: str) -> ExecutionSettings:
    """What `acdc run s` with `words` behind it executes on."""
    group = get_command(app)
    parent = typer.Context(group, info_name="acdc", default_map=default_map(group))
    command = group.commands["run"]  # pyright: ignore[reportAttributeAccessIssue]
    return read_settings(command.make_context("run", ["s", *words], parent=parent))


def settings(project: Path, text: str) -> None:
    (project / "acdc.yaml").write_text(text)


def test_place_is_the_default_profiles_where_nobody_says_anything():
    place = asked()
    assert (place.name, place.profile.executor, place.device) == ("laptop", "local", None)
    assert (place.memory, place.threads) == (place.profile.memory, None)


def test_profile_is_found_by_name_in_the_project_and_by_path(project: Path):
    assert asked("--profile", "mine").profile.checkpoint == 5.0
    assert asked("--profile", "workers/mine.yaml").profile.checkpoint == 5.0


def test_memory_of_the_profile_gives_way_to_settings_environment_and_command_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    assert asked("--profile", "mine").memory == 2**20
    settings(project, "memory: 2MiB")
    assert asked("--profile", "mine").memory == 2 * 2**20
    monkeypatch.setenv("ACDC_MEMORY", "3MiB")
    assert asked("--profile", "mine").memory == 3 * 2**20
    assert asked("--profile", "mine", "--memory", "4MiB").memory == 4 * 2**20


def test_profile_itself_comes_from_command_line_environment_or_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    settings(project, "profile: mine")
    assert asked().name == "mine"
    monkeypatch.setenv("ACDC_PROFILE", "ci")
    assert asked().name == "ci"
    assert asked("--profile", "gpu").name == "gpu"


def test_threads_and_device_come_from_settings_too(project: Path, monkeypatch: pytest.MonkeyPatch):
    settings(project, "threads: 3\ndevice: cpu")
    assert (asked().threads, asked().device) == (3, "cpu")
    monkeypatch.setenv("ACDC_THREADS", "2")
    assert asked().threads == 2
    assert asked("--threads", "1", "--device", "mps").threads == 1


def test_executor_overrides_the_profiles_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    there = asked("--profile", "gpu", "--executor", "local")
    assert there.profile == asked("--profile", "gpu").profile.model_copy(
        update={"executor": "local"}
    )
    monkeypatch.setenv("ACDC_EXECUTOR", "ray")
    assert asked("--profile", "mine").profile.executor == "ray"
    assert asked("--profile", "mine", "--executor", "local").profile.executor == "local"


def test_shards_override_those_of_the_profile():
    assert asked("--profile", "mine").profile.shards is None
    assert asked("--profile", "mine", "--shards", "3").profile.shards == 3
    with pytest.raises(InvalidInput, match="shards: 0 is too small"):
        execution_settings("mine", shards=0)


def test_local_worker_has_the_cpus_of_all_actors_and_ray_workers_their_own():
    local, ray = (execution_settings("mine", executor=name).profile for name in ("local", "ray"))
    assert (local.workers, local.cpus_each) == (1, 6.0)
    assert (ray.workers, ray.cpus_each) == (2, 3.0)


def test_executor_of_a_local_profile_is_made_without_ray():
    assert isinstance(make_executor(execution_settings("mine", threads=1)), LocalExecutor)
