from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission import Bundle, Submission, bundle_of
from acdc_pipeline.execution.submission import submission as submission_module
from acdc_pipeline.specs import find_profile, find_sweep, find_task
from tests.support import REPOSITORY

SWEEP = """
name: small
tasks: [ioi, ./mine, pairs.jsonl]
models: ["zoo:*"]
exclude: [{tasks: [./mine], models: ["zoo:attn-*"]}]
methods: [{name: acdc, thresholds: [1e-3]}]
prompts: 8
seeds: [0]
"""
PROFILE = """
executor: ray
actors: 1
cpus: 1
gpus: 0
dtype: float32
attempts: 1
checkpoint: 60s
runtime_env: {env_vars: {OMP_NUM_THREADS: "1"}}
"""
MINE = """
name: ioi
title: Mine
behaviour: pairs
source: {paper: none}
generator: {kind: pairs, bos: false, file: p.jsonl}
metrics: {discovery: kl, report: []}
"""
PAIR = '{"clean": "a", "corrupted": "b", "correct": " c"}\n'
OTHER_PAIR = PAIR.replace('"a"', '"z"')


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sweep over a bundled task, a folder of its own, and a file of pairs."""
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)
    Path("profile.yaml").write_text(PROFILE)
    Path("pairs.jsonl").write_text(PAIR)
    Path("mine").mkdir()
    Path("mine/task.yaml").write_text(MINE)
    Path("mine/p.jsonl").write_text(PAIR)
    return tmp_path


def bundled() -> Bundle:
    return bundle_of("sweep.yaml", "profile.yaml")


def test_bundle_holds_sweep_tasks_and_profile_and_nothing_else(project: Path):
    bundle = bundled()
    (project / "sent").mkdir()
    bundle.write(project / "sent")
    sent = {str(p.relative_to(project / "sent")) for p in Path("sent").resolve().rglob("*.*")}
    assert sent == set(bundle.files)
    ioi = {path for path in sent if path.startswith("tasks/ioi/")}
    assert sent - ioi == {
        "sweep.yaml",
        "profile.yaml",
        "tasks/ioi-2/task.yaml",
        "tasks/ioi-2/p.jsonl",
        "tasks/pairs/pairs.jsonl",
    }
    assert "tasks/ioi/task.yaml" in ioi
    assert {Path(path).suffix for path in ioi} == {".yaml", ".txt"}


def test_sweep_that_travels_names_the_copies(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "sent").mkdir()
    bundled().write(project / "sent")
    originals = [find_task(text) for text in find_sweep("sweep.yaml").tasks]
    monkeypatch.chdir("sent")
    sweep = find_sweep("sweep.yaml")
    assert sweep.tasks == ("tasks/ioi", "tasks/ioi-2", "tasks/pairs/pairs.jsonl")
    assert sweep.exclude[0].tasks == ("tasks/ioi-2",)
    assert [find_task(text) for text in sweep.tasks] == originals
    assert sweep.methods == find_sweep(project / "sweep.yaml").methods


def test_profile_that_travels_leaves_the_runtime_environment_to_the_job(project: Path):
    bundle = bundled()
    Path("sent").mkdir()
    bundle.write(project / "sent")
    sent, written = find_profile("sent/profile.yaml"), find_profile("profile.yaml")
    assert sent == written.model_copy(update={"runtime_env": {}})
    submission = Submission(bundle, "s3://bucket", "true")
    assert submission.runtime_env == {"env_vars": {"OMP_NUM_THREADS": "1"}}


def test_same_submission_is_the_same_job_wherever_it_lies(project: Path):
    first = identified()
    Path("sweep.yaml").write_text("# a comment\n" + SWEEP.replace("./mine", "deeper/mine"))
    Path("deeper").mkdir()
    Path("mine").rename("deeper/mine")
    assert identified() == first
    assert len(first) == len("acdc-") + 20


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("sweep.yaml").write_text(SWEEP.replace("1e-3", "2e-3")),
        lambda: Path("profile.yaml").write_text(PROFILE.replace("actors: 1", "actors: 2")),
        lambda: Path("profile.yaml").write_text(PROFILE.replace('"1"', '"2"')),
        lambda: Path("mine/p.jsonl").write_text(OTHER_PAIR),
        lambda: Path("pairs.jsonl").write_text(PAIR + PAIR),
    ],
    ids=["sweep", "profile", "runtime environment", "task", "pairs"],
)
def test_other_content_is_another_job(project: Path, change: Callable[[], object]):
    first = identified()
    change()
    assert identified() != first


def test_other_store_is_another_job_and_another_command_is_not(project: Path):
    bundle = bundled()
    first = Submission(bundle, "s3://bucket", "true").id
    assert Submission(bundle, "s3://other", "true").id != first
    assert Submission(bundle, "s3://bucket", "false").id == first


def test_other_version_is_another_job(project: Path, monkeypatch: pytest.MonkeyPatch):
    from acdc_pipeline.execution.submission import submission

    first = identified()
    monkeypatch.setattr(submission, "__version__", "99.0")
    assert identified() != first


def test_files_that_are_too_large_are_refused_naming_the_largest(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submission_module, "MAX_BYTES", 2**20)
    pair = {"clean": "x" * 2**20, "corrupted": "y", "correct": " c"}
    Path("pairs.jsonl").write_text(f"{json.dumps(pair)}\n")
    with pytest.raises(SpecError, match=r"1\.\d MiB") as caught:
        bundled()
    assert caught.value.allowed == "at most 1 MiB"
    assert "tasks/pairs/pairs.jsonl" in (caught.value.fix or "")


def test_copy_that_does_not_read_like_the_original_is_never_sent(project: Path):
    bundle = bundled()
    changed = dict(bundle.files) | {"tasks/pairs/pairs.jsonl": OTHER_PAIR.encode()}
    with pytest.raises(SpecError, match="does not read like the original"):
        dataclasses.replace(bundle, files=changed).write(project / "sent")


def test_secret_in_the_profile_stops_the_submission(project: Path):
    Path("profile.yaml").write_text(PROFILE.replace("OMP_NUM_THREADS", "HF_TOKEN"))
    with pytest.raises(SpecError) as caught:
        bundled()
    assert caught.value.where == "worker profile 'profile.yaml'"


def test_sweep_of_the_repository_travels(tmp_path: Path):
    bundle = bundle_of("demo", "laptop", REPOSITORY)
    bundle.write(tmp_path)
    assert set(bundle.tasks) == {"tasks/ioi", "tasks/induction", "tasks/docstring"}


def identified() -> str:
    return Submission(bundled(), "s3://bucket", "true").id
