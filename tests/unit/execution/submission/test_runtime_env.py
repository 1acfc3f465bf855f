from __future__ import annotations

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission.portability import check_runtime_env


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_APIKEY",
        "db_password",
        "MY_SECRETS",
        "TOKEN_OF_ME",
    ],
)
def test_variable_that_looks_like_a_secret_is_refused_without_its_value(name: str):
    with pytest.raises(SpecError) as caught:
        check_runtime_env({"env_vars": {name: "hunter2"}}, "workers/gpu.yaml")
    assert caught.value.field == f"runtime_env.env_vars.{name}"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"),
        ("KEYBOARD", "us"),
        ("OMP_NUM_THREADS", "1"),
        ("HF_TOKEN", ""),
        ("HF_TOKEN", "${HF_TOKEN}"),
    ],
)
def test_variable_that_is_no_secret_is_taken(name: str, value: str):
    check_runtime_env({"env_vars": {name: value}, "pip": ["a==1"]}, "workers/gpu.yaml")


def test_value_that_is_a_reference_and_more_is_refused():
    with pytest.raises(SpecError, match="looks like a secret"):
        check_runtime_env({"env_vars": {"HF_TOKEN": "${A}hunter2"}}, "workers/gpu.yaml")


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"working_dir": "."}, "runtime_env.working_dir"),
        ({"excludes": []}, "runtime_env.excludes"),
        ({"py_modules": ["s3://bucket/a.zip", "./b"]}, "runtime_env.py_modules.1"),
        ({"env_vars": ["A"]}, "runtime_env.env_vars"),
    ],
)
def test_files_of_this_machine_do_not_travel(env, field: str):
    with pytest.raises(SpecError) as caught:
        check_runtime_env(env, "workers/gpu.yaml")
    assert (caught.value.where, caught.value.field) == ("workers/gpu.yaml", field)
