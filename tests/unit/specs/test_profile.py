from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import WorkerProfile, load_yaml, parse

GPU: dict[str, Any] = {
    "executor": "ray",
    "actors": 8,
    "cpus": 4,
    "gpus": 0.5,
    "dtype": "float32",
    "memory": "60GiB",
    "attempts": 4,
    "checkpoint": "60s",
}


def test_profile_amounts_become_bytes_and_seconds():
    profile = parse(GPU, WorkerProfile, "gpu.yaml")
    assert profile.memory == 60 * 1024**3
    assert profile.checkpoint == 60.0


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("memory", "512MiB", 512 * 2**20),
        ("memory", "1.5 GB", 1_500_000_000),
        ("memory", 1024, 1024),
        ("checkpoint", "10m", 600.0),
        ("checkpoint", "1.5h", 5400.0),
        ("gpus", 0.25, 0.25),
        ("gpus", 2, 2.0),
        ("checkpoint", 30, 30.0),
    ],
)
def test_profile_amount_in_each_unit(field: str, text: object, value: float):
    assert getattr(parse({**GPU, field: text}, WorkerProfile, "gpu.yaml"), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory", "60 gigs"),
        ("memory", "0GiB"),
        ("memory", "-1GiB"),
        ("checkpoint", "soon"),
        ("checkpoint", "0s"),
        ("executor", "slurm"),
        ("actors", 0),
        ("cpus", 0),
        ("gpus", -1),
        ("actors", True),
        ("memory", 60),
        ("memory", "60"),
        ("memory", "６0GiB"),
        ("cpus", 1e9),
        ("gpus", 1.5),
        ("actors", 10**7),
        ("attempts", 10**6),
    ],
)
def test_profile_amount_without_meaning_is_rejected(field: str, value: object):
    with pytest.raises(SpecError) as raised:
        parse({**GPU, field: value}, WorkerProfile, "gpu.yaml")
    assert raised.value.field == field
    assert raised.value.allowed


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"larger": {"gpus": 1.5}}, "larger.gpus", "1.5 GPUs cannot be given"),
        ({"larger": {}}, "larger", "says nothing that differs"),
        ({"larger": {"memory": "60GiB"}}, "larger", "says nothing that differs"),
        ({"larger": {"memory": "1MiB"}}, "larger.memory", "is less than the 61440MiB"),
        ({"larger": {"gpus": 2}, "executor": "local"}, "larger", "with executor 'local'"),
    ],
)
def test_larger_workers_that_are_none_are_refused(
    changed: dict[str, Any], field: str, problem: str
):
    with pytest.raises(SpecError, match=problem) as raised:
        parse({**GPU, **changed}, WorkerProfile, "gpu.yaml")
    assert raised.value.field == field
    assert raised.value.allowed or raised.value.fix


def test_larger_workers_may_have_more_of_one_thing():
    for more in ({"memory": "120GiB"}, {"gpus": 2}, {"memory": "60GiB", "gpus": 2}):
        assert parse({**GPU, "larger": more}, WorkerProfile, "gpu.yaml").enlarged is not None


def test_empty_file_is_told_the_first_field_of_a_profile(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("- a\n")
    with pytest.raises(SpecError) as raised:
        load_yaml(tmp_path / "mine.yaml", WorkerProfile)
    assert raised.value.fix == "start with 'executor: …'"
