from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput, StoreError
from acdc_pipeline.execution.submission.portability import (
    check_models,
    located_store,
    needs_this_disk,
)
from acdc_pipeline.specs import SweepSpec, parse


def sweep(*models: str) -> SweepSpec:
    data = {"name": "a", "tasks": ["ioi"], "models": list(models), "prompts": 1, "seeds": [0]}
    methods = [{"name": "acdc", "thresholds": [0.1]}]
    return parse(data | {"methods": methods}, SweepSpec, "a.yaml")


def test_object_store_and_models_by_name_need_no_disk():
    assert needs_this_disk(sweep("zoo:*", "hf:a/b"), "s3://bucket/runs") is None


def test_local_store_needs_this_disk():
    problem = needs_this_disk(sweep("zoo:*"), "/data/runs")
    assert problem is not None
    assert (problem.where, problem.field) == ("/data/runs", "--store")
    assert "--shared-disk" in (problem.fix or "")


def test_model_in_a_folder_needs_this_disk():
    problem = needs_this_disk(sweep("zoo:a", "dir:/models/b"), "s3://bucket/runs")
    assert problem is not None
    assert problem.field == "models.1"


def test_model_in_a_relative_folder_is_refused_with_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        check_models(sweep("zoo:a", "dir:models/b"))
    assert f"'dir:{tmp_path}/models/b'" in (caught.value.fix or "")
    check_models(sweep("dir:/models/b", "gguf:/models/c.gguf", "zoo:*"))
    with pytest.raises(InvalidInput, match="working folder") as caught:
        check_models(sweep("gguf:c.gguf"))
    assert f"'gguf:{tmp_path}/c.gguf'" in (caught.value.fix or "")


def test_folder_is_told_in_full_and_object_store_as_it_is(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located_store("runs") == str(tmp_path / "runs")
    assert located_store("file:///data/runs") == "/data/runs"
    assert located_store("s3://bucket/runs/") == "s3://bucket/runs"


@pytest.mark.parametrize("url", ["https://example.org/runs", "what://bucket"])
def test_store_that_no_job_can_write_is_refused(url: str):
    with pytest.raises(StoreError):
        located_store(url)


def test_store_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(StoreError) as caught:
        located_store("s3://me:hunter2@bucket/runs")
    assert "hunter2" not in str(caught.value)
