from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.execution.submission.job import Job, JobState, attempt_of, find_job, next_attempt

BASE = "acdc-0123456789abcdef0123"
OTHER = "acdc-0123456789abcdefffff"


def job(
    job_id: str = BASE, state: JobState = "failed", code: int | None = None, message: str = ""
) -> Job:
    return Job(job_id, state, message, 1.0, 2.0, code, {})


@pytest.mark.parametrize(
    ("state", "driver", "followed"),
    [
        ("pending", None, None),
        ("running", None, None),
        ("succeeded", 0, 0),
        ("failed", 2, 2),
        ("failed", 3, 3),
        ("failed", 4, 4),
        # Python could not even start the package: 1 would mean drift.
        ("failed", 1, 3),
        ("failed", 127, 3),
        ("failed", -9, 3),
        ("failed", None, 3),
        ("stopped", None, 3),
    ],
)
def test_exit_code_is_the_drivers_where_that_means_something(state, driver, followed):
    assert job(state=state, code=driver).exit_code == followed


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        (1, "x\npython: No module named acdc_pipeline", "does not have acdc-pipeline"),
        (1, "ModuleNotFoundError: No module named 'acdc_pipeline'", "does not have acdc-pipeline"),
        (127, "sh: python: not found", "no command 'python'"),
        (-9, "", "signal 9 (out of memory?)"),
        (143, "", "signal 15"),
        (5, "", "exit code 5"),
        (None, "\nruntime_env setup failed\nmore", "runtime_env setup failed"),
        (None, "", "never started"),
    ],
)
def test_cause_of_a_failure_outside_the_sweep_is_said(code, message, cause):
    assert cause in (job(code=code, message=message).cause or "")


@pytest.mark.parametrize("code", [2, 3, 4])
def test_cause_of_a_failure_of_the_sweep_is_in_its_log(code: int):
    assert job(code=code).cause is None


def test_first_attempt_has_the_id_itself():
    assert next_attempt(BASE, {}) == BASE


@given(st.lists(st.sampled_from(["failed", "stopped"]), max_size=5))
def test_next_attempt_follows_all_that_failed_and_is_new(states: list[JobState]):
    known = {}
    for state in states:
        attempt = next_attempt(BASE, known)
        assert attempt not in known
        known[attempt] = job(attempt, state)
    assert attempt_of(next_attempt(BASE, known)) == (BASE, len(states) + 1)


@pytest.mark.parametrize("state", ["pending", "running", "succeeded"])
def test_attempt_that_did_not_fail_is_the_job(state: JobState):
    known = {BASE: job(BASE), f"{BASE}-2": job(f"{BASE}-2", state)}
    assert next_attempt(BASE, known) == f"{BASE}-2"


def test_job_is_named_by_its_id_or_the_beginning_of_one():
    jobs = [job(BASE), job("acdc-ffff56789abcdef01234")]
    for name in (BASE, "acdc-0123", "0123", "acdc-012"):
        assert find_job(name, jobs).id == BASE


def test_beginning_of_several_attempts_names_the_last_and_the_whole_id_the_first():
    jobs = [job(f"{BASE}-10"), job(BASE), job(f"{BASE}-9")]
    assert find_job("0123", jobs).id == f"{BASE}-10"
    assert find_job(BASE, jobs).id == BASE


def test_beginning_of_unrelated_jobs_is_refused_with_their_names():
    with pytest.raises(InvalidInput, match="several jobs") as caught:
        find_job("0123", [job(BASE), job(OTHER)])
    assert caught.value.allowed == f"{BASE}, {OTHER}"


@pytest.mark.parametrize("name", ["", "acdc-9", "raysubmit_1", f"{BASE}0"])
def test_unknown_job_is_refused(name: str):
    with pytest.raises(UnknownName):
        find_job(name, [job(BASE)])


def test_unknown_job_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        find_job("acdc-0123456789abcdef0132", [job(BASE), job("acdc-ffff56789abcdef01234")])
    assert f"did you mean '{BASE}'?" in str(caught.value)
