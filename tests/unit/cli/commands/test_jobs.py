"""Reading and stopping jobs, of a server that answers as Ray's does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.command_line import acdc
from tests.http_answers import Answer, answering, ray_with_jobs

OLD = "acdc-0123456789abcdef0123"
NEW = "acdc-fedcba9876543210fedc"


def job(job_id: str, **more: object) -> dict[str, object]:
    """A job as Ray's API gives it: times in milliseconds."""
    return {
        "type": "SUBMISSION",
        "submission_id": job_id,
        "status": "SUCCEEDED",
        "entrypoint": "true",
        "message": "Job finished successfully.",
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_061_000,
        "driver_exit_code": 0,
        "metadata": {"acdc_sweep": "demo", "acdc_store": "s3://bucket", "acdc_version": "0.1.0"},
    } | more


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster with an old job that succeeded, a newer one that failed, and others' jobs."""
    others = job("raysubmit_1"), job("acdc-driver", type="DRIVER")
    failed = job(
        NEW,
        status="FAILED",
        start_time=1_700_000_100_000,
        end_time=1_700_003_760_000,
        driver_exit_code=1,
        message="last logs:\npython: No module named acdc_pipeline",
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with answering(ray_with_jobs(failed, *others, job(OLD))) as url:
        monkeypatch.setenv("ACDC_ADDRESS", url)
        yield url


def test_status_lists_the_jobs_of_acdc_newest_first(capsys, url):
    shown = acdc(capsys, "status")
    assert shown.code == 0, shown.err
    rows = [line.split() for line in shown.out.splitlines() if line.startswith("acdc-")]
    assert [row[:3] for row in rows] == [[NEW, "demo", "failed"], [OLD, "demo", "succeeded"]]
    assert " 1:01 " in shown.out
    assert " 1:01:00 " in shown.out


def test_status_as_json_has_the_exit_code_that_following_would_end_with(capsys, url):
    new, old = acdc(capsys, "status", "--json").document["jobs"]
    assert (new["exit_code"], new["driver_exit_code"]) == (3, 1)
    assert old == {
        "job": OLD,
        "state": "succeeded",
        "sweep": "demo",
        "store": "s3://bucket",
        "version": "0.1.0",
        "started": "2023-11-14T22:13:20+00:00",
        "ended": "2023-11-14T22:14:21+00:00",
        "seconds": 61.0,
        "exit_code": 0,
        "driver_exit_code": 0,
        "message": "Job finished successfully.",
    }


def test_status_of_one_job_says_why_it_failed(capsys, url):
    shown = acdc(capsys, "status", "fedc")
    assert NEW in shown.out
    assert "does not have acdc-pipeline" in shown.out
    assert f"acdc logs {NEW}" in shown.out


def test_status_of_a_cluster_without_jobs_is_no_error(capsys):
    with answering(ray_with_jobs()) as url:
        shown = acdc(capsys, "status", "--address", url)
        assert acdc(capsys, "status", "--address", url, "--json").document == {"jobs": []}
    assert (shown.code, shown.out) == (0, "")
    assert "no sweep has been submitted" in shown.err


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_unknown_job_is_refused_with_the_nearest(capsys, url, command: str):
    acdc(capsys, command, OLD[:-1] + "4").refuses("unknown job", f"did you mean '{OLD}'?")


def test_log_is_the_answer(capsys, url):
    shown = acdc(capsys, "logs", "0123")
    assert (shown.code, shown.out) == (0, f"log of {OLD}\n")


def test_following_a_job_that_is_over_shows_its_log_and_ends_with_its_code(capsys, url):
    shown = acdc(capsys, "logs", NEW, "--follow")
    assert (shown.code, shown.out) == (3, f"log of {NEW}\n")
    assert f"{NEW}: failed after 1:01:00, exit code 3" in shown.err
    assert "does not have acdc-pipeline" in shown.err


def test_cancelling_a_job_that_is_over_changes_nothing(capsys, url):
    shown = acdc(capsys, "cancel", OLD)
    assert (shown.code, shown.out) == (0, f"{OLD}: succeeded, as it was before\n")
    assert acdc(capsys, "cancel", NEW, "--json").document["state"] == "failed"


def test_cancelling_a_job_waits_until_it_has_stopped(capsys, monkeypatch):
    running = job(OLD, status="RUNNING", end_time=None, driver_exit_code=None)
    stopped = job(OLD, status="STOPPED", driver_exit_code=None)
    asked: list[str] = []

    def answer(path, headers):
        if path.endswith("/stop"):
            asked.append(path)
            return Answer(200, '{"stopped": true}')
        return ray_with_jobs(stopped if len(asked) > 1 else running)(path, headers)

    with answering(answer) as url:
        shown = acdc(capsys, "cancel", OLD, "--address", url)
    assert (shown.code, shown.out) == (0, f"{OLD}: stopped\n")
    assert len(asked) == 2


def test_cluster_that_fails_is_no_wrong_input(capsys):
    def answer(path, headers):
        if path == "/api/jobs/":
            return Answer(500, "Traceback:\n  File x\nRuntimeError: GCS is away")
        return ray_with_jobs()(path, headers)

    with answering(answer) as url:
        shown = acdc(capsys, "status", "--address", url)
    assert shown.code == 3
    assert "RuntimeError: GCS is away" in shown.err
    assert "Traceback" not in shown.err


def test_status_asks_the_address_that_was_given_and_not_that_of_ray(capsys, url, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    assert acdc(capsys, "status", "--address", url).code == 0
