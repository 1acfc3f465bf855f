"""What `acdc submit` refuses before anything is sent; with a real cluster: tests/integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import acdc
from tests.http_answers import (
    Answer,
    answering,
    ray_with_jobs,
    ray_with_token,
    ray_without_token,
)

SWEEP = """
name: small
tasks: [compiled_or]
models: ["zoo:compiled-or"]
methods: [{name: acdc, thresholds: [0.1]}]
prompts: 8
seeds: [0]
"""
ELSEWHERE = "http://192.0.2.1:8265"
"""An address of RFC 5737, which is nobody's."""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SWEEP)


def submit(capsys, *more: str, address: str = ELSEWHERE):
    base = ("submit", "small.yaml", "--profile", "laptop", "--address", address)
    return acdc(capsys, *base, *more)


def test_submit_without_an_address_says_where_to_put_one(capsys):
    said = acdc(capsys, "submit", "small.yaml", "--profile", "laptop")
    said.refuses("no cluster is named", "ACDC_ADDRESS", "acdc.yaml")


def test_submit_takes_the_address_from_the_environment_then_from_settings(capsys, monkeypatch):
    Path("acdc.yaml").write_text("address: ray://of-settings\n")
    said = acdc(capsys, "submit", "small.yaml", "--profile", "laptop")
    said.refuses("acdc.yaml: address: 'ray://of-settings' is for Ray Client")
    monkeypatch.setenv("ACDC_ADDRESS", "ray://of-environment")
    said = acdc(capsys, "submit", "small.yaml", "--profile", "laptop")
    said.refuses("ACDC_ADDRESS: 'ray://of-environment' is for Ray Client")
    said = submit(capsys, address="ray://typed")
    said.refuses("--address: 'ray://typed' is for Ray Client", "http://typed:8265")


def test_submit_of_an_unknown_sweep_task_or_profile_is_refused(capsys):
    acdc(capsys, "submit", "dmeo", "--address", ELSEWHERE, "--profile", "laptop").refuses(
        "unknown sweep 'dmeo'", "did you mean 'demo'?"
    )
    acdc(capsys, "submit", "small.yaml", "--address", ELSEWHERE, "--profile", "none").refuses(
        "unknown worker profile 'none'"
    )
    Path("small.yaml").write_text(SWEEP.replace("compiled_or", "compiled_xor"))
    submit(capsys).refuses("unknown task 'compiled_xor'")


def test_submit_of_a_store_on_this_disk_to_another_machine_is_refused(capsys, store_url):
    submit(capsys).refuses(store_url, "--store: is a folder of this machine", "--shared-disk")


def test_submit_of_a_model_on_this_disk_to_another_machine_is_refused(capsys, tmp_path):
    Path("small.yaml").write_text(SWEEP.replace("zoo:compiled-or", f"dir:{tmp_path}"))
    submit(capsys, "--store", "s3://bucket").refuses("models.0", "is on the disk of this machine")


def test_submit_to_an_open_cluster_is_refused(capsys):
    with answering(ray_without_token) as url:
        submit(capsys, address=url).refuses("CVE-2023-48022", "--insecure", url)


def test_submit_with_a_wrong_or_missing_token_is_refused(capsys, monkeypatch):
    with answering(ray_with_token("right")) as url:
        submit(capsys, address=url).refuses("asks for a token, and there is none")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
        submit(capsys, address=url).refuses("refuses the token of RAY_AUTH_TOKEN")


def test_submit_to_an_address_where_nothing_is_says_so(capsys):
    submit(capsys, address="http://127.0.0.1:9").refuses(
        "http://127.0.0.1:9: nothing answers there"
    )


def test_submit_that_comes_second_by_a_moment_finds_the_job(capsys):
    """Ray answers HTTP 500 to an id that it has; it was not there when it was looked for."""
    taken: list[str] = []

    def answer(path, headers):
        if path.startswith("/api/packages/"):
            return Answer(200)
        if path == "/api/jobs/" and headers.get("Content-Type") == "application/json":
            taken.append(path)
            return Answer(500, "Traceback:\nValueError: Job with submission_id a already exists.")
        if taken and path.startswith("/api/jobs/acdc-"):
            job = {"type": "SUBMISSION", "submission_id": path.rpartition("/")[2]}
            return Answer(200, json.dumps(job | {"status": "PENDING", "entrypoint": "true"}))
        return ray_with_jobs()(path, headers)

    with answering(answer) as url:
        shown = submit(capsys, "--insecure", "--json", address=url)
    assert len(taken) == 1
    assert (shown.document["present"], shown.document["state"]) == (True, "pending")


def test_driver_of_another_version_says_so_before_anything_else(capsys, monkeypatch):
    monkeypatch.setenv("ACDC_SUBMITTED_WITH", "99.0")
    said = acdc(capsys, "run", "no-such-sweep")
    said.refuses("unknown sweep")
    assert said.err.startswith("note: submitted with acdc 99.0, executed by acdc ")
