"""Sweeps as jobs of a real Ray head node that asks for a token."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.execution.submission import (
    Cluster,
    Job,
    Submission,
    bundle_of,
    find_token,
    parse_address,
    reach,
)
from acdc_pipeline.store import open_store
from tests.command_line import acdc, start_acdc
from tests.ray_head import ray_head
from tests.tcp_tunnel import tunnel

pytestmark = pytest.mark.ray

TOKEN = "a-token-of-this-test"
SWEEP = """
name: small
tasks: [compiled_or]
models: ["zoo:compiled-or"]
methods: [{name: acdc, thresholds: [0.1]}]
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
"""
COUNT_TO = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo line $i; sleep 0.2; done"


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with ray_head(TOKEN) as url:
        yield url


@pytest.fixture(autouse=True)
def _in_a_project(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SWEEP)
    Path("one.yaml").write_text(PROFILE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACDC_ADDRESS", head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


def cluster(url: str) -> Cluster:
    return reach(
        parse_address(url, "--address"), lambda: find_token({"RAY_AUTH_TOKEN": TOKEN}, Path())
    )


def started(url: str, name: str, command: str) -> Job:
    """A job that executes `command` in place of a sweep; `name` makes it one of its own."""
    from acdc_pipeline.execution.submission.jobs import Jobs, submit

    bundle = bundle_of("small.yaml", "one.yaml")
    return submit(Jobs(cluster(url)), Submission(bundle, f"s3://{name}", command)).job


def job_on(url: str, job_id: str) -> Job | None:
    from acdc_pipeline.execution.submission.jobs import Jobs

    return Jobs(cluster(url)).find(job_id)


def test_sweep_is_executed_with_its_log_and_submitted_again_is_the_same_job(capsys, store_url):
    arguments = ("submit", "small.yaml")
    shown = acdc(capsys, *arguments, "--follow")
    assert shown.code == 0, shown.out + shown.err
    # before the job, and in its log; the head has two CPUs
    chosen = "1 worker with 2 CPUs: what the cluster has room for"
    assert f"note: {chosen}\n" in shown.err
    assert chosen in shown.out
    assert "compiled_or in zoo:compiled-or at 0.1: 4 edges" in shown.out
    assert "succeeded after" in shown.err
    assert len(open_store(store_url).run_ids()) == 1
    again = acdc(capsys, *arguments, "--json").document
    assert (again["present"], again["state"], again["exit_code"]) == (True, "succeeded", 0)
    assert f"job      {again['job']}\n" in shown.out
    assert job_on(again["address"], f"{again['job']}-2") is None


def test_profile_that_does_not_fit_is_refused_before_anything_is_sent(capsys):
    acdc(capsys, "submit", "small.yaml", "--profile", "gpu", "--store", "s3://elsewhere").refuses(
        "30 CPUs are missing; 8 GPUs are missing", "or add nodes"
    )
    assert not [
        job
        for job in acdc(capsys, "status", "--json").document["jobs"]
        if job["store"] == "s3://elsewhere"
    ]


def test_job_finds_sweep_tasks_and_profile_beside_it_and_nothing_else(head, capsys):
    job = started(head, "files", "find . -type f; exit 3")
    shown = acdc(capsys, "logs", job.id, "--follow")
    files = {line[2:] for line in shown.out.splitlines() if line.startswith("./")}
    assert files == set(bundle_of("small.yaml", "one.yaml").files)
    assert shown.code == 3
    # what failed is tried once more under an id of its own, and what did not is the job
    second = started(head, "files", "true")
    assert second.id == f"{job.id}-2"
    assert acdc(capsys, "logs", second.id, "--follow").code == 0
    assert started(head, "files", "true") == job_on(head, second.id)


def test_log_comes_whole_and_once_over_connections_that_break(head, capsys):
    from acdc_pipeline.execution.submission.follow import Timeouts, follow
    from acdc_pipeline.execution.submission.jobs import Jobs

    job = started(head, "counting", COUNT_TO.format(30))
    written: list[str] = []
    cuts: list[int] = []
    with tunnel(head) as (url, line):

        def write(text: str) -> None:
            written.append(text)
            if len(cuts) < 2 and f"line {4 + 8 * len(cuts)}\n" in "".join(written):
                cuts.append(line.cut())

        ended = follow(Jobs(cluster(url)), job.id, write, print, Timeouts(pauses=(0.1,)))
    assert ended.state == "succeeded"
    assert [cut > 0 for cut in cuts] == [True, True]
    lines = [line for line in "".join(written).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 31)]


def test_interrupt_ends_the_following_and_cancel_ends_the_job(head, capsys):
    job = started(head, "endless", COUNT_TO.format(100_000))
    with start_acdc("logs", job.id, "--follow", program="acdc_pipeline") as process:
        assert process.stdout is not None
        while "line 1\n" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert f"{job.id} continues" in err
    assert "Traceback" not in err
    assert acdc(capsys, "status", job.id, "--json").document["state"] == "running"
    shown = acdc(capsys, "cancel", job.id)
    assert (shown.code, shown.out) == (0, f"{job.id}: stopped\n")
    again = acdc(capsys, "cancel", job.id)
    assert (again.code, again.out) == (0, f"{job.id}: stopped, as it was before\n")


def test_wrong_and_missing_token_are_one_clear_error_each(capsys, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    for command in (("submit", "small.yaml", "--profile", "one.yaml"), ("status",)):
        acdc(capsys, *command).refuses("refuses the token of RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    acdc(capsys, "status").refuses("asks for a token, and there is none", "RAY_AUTH_TOKEN_PATH")


def test_token_is_read_where_ray_reads_it(tmp_path, monkeypatch):
    from ray import _raylet

    # compiled, and without types
    loader: Any = vars(_raylet)["AuthenticationTokenLoader"].instance()
    for place in ({"RAY_AUTH_TOKEN": " a\n"}, {"RAY_AUTH_TOKEN_PATH": "file"}, {}):
        (tmp_path / "file").write_text("b\n")
        (tmp_path / ".ray").mkdir(exist_ok=True)
        (tmp_path / ".ray" / "auth_token").write_text("c\n")
        for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        loader.reset_cache()
        ours = find_token(dict(place), tmp_path)
        assert ours is not None
        assert loader.get_raw_token(ignore_auth_mode=True) == ours.value
