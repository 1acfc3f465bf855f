from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import ExecutionFailed, InvalidInput
from acdc_pipeline.execution.submission.follow import JobLog, Timeouts, follow
from acdc_pipeline.execution.submission.job import Job, JobState

AT_ONCE = Timeouts(pauses=(0.0,), quiet=0.0, gone=0.0)


@dataclass
class Broken:
    """A log of a job that ends, over connections that break after so many characters each.

    Args:
        text: the whole log.
        breaks: where each connection breaks; the job is over when none is left.
        answers: what the cluster says when asked for the job, before it answers properly.
    """

    text: str
    breaks: list[int]
    answers: list[Exception | None] = field(default_factory=list)
    silent: bool = False

    def find(self, job_id: str) -> Job | None:
        if self.answers:
            answer = self.answers.pop(0)
            if answer is None:
                return None
            raise answer
        state: JobState = "running" if self.breaks else "succeeded"
        return Job(job_id, state, "", 1.0, None, None if self.breaks else 0, {})

    def log(self, job_id: str) -> str:
        if self.breaks:
            raise ExecutionFailed("not now")
        return self.text

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        end = self.breaks.pop(0) if self.breaks else 0
        for start in range(0, end, 3):
            yield self.text[start : min(start + 3, end)]
        if self.silent:
            await asyncio.Event().wait()
        raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")


def followed(log: JobLog) -> tuple[str, list[str], Job]:
    written: list[str] = []
    told: list[str] = []
    job = follow(log, "acdc-1", written.append, told.append, AT_ONCE)
    return "".join(written), told, job


@given(st.text(max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_log_over_broken_connections_comes_whole_and_once(text: str, breaks: list[int]):
    log = Broken(text, breaks)
    assert followed(log) == (text, [], Job("acdc-1", "succeeded", "", 1.0, None, 0, {}))


def test_connection_that_has_gone_silent_is_given_up_once_the_job_is_over():
    assert followed(Broken("abcdef", [4], silent=True))[0] == "abcdef"


def test_cluster_that_is_away_for_a_while_is_waited_for_and_said_once():
    gone = InvalidInput("nothing answers there")
    patient = Timeouts(pauses=(0.0,), quiet=60.0, gone=60.0)
    written: list[str] = []
    told: list[str] = []
    job = follow(Broken("abc", [2], [gone, gone]), "a", written.append, told.append, patient)
    assert ("".join(written), job.state) == ("abc", "succeeded")
    assert told == ["connection lost, trying again", "connected again"]


def test_cluster_that_stays_away_is_an_execution_that_failed():
    gone = InvalidInput("nothing answers there")
    with pytest.raises(ExecutionFailed, match="nothing answers there") as caught:
        followed(Broken("abc", [2], [gone] * 1000))
    assert "acdc logs acdc-1 --follow" in (caught.value.fix or "")


def test_job_that_the_cluster_forgot_is_an_execution_that_failed():
    with pytest.raises(ExecutionFailed, match="does not know this job"):
        followed(Broken("abc", [2], [None]))


def test_reader_that_has_seen_enough_is_no_broken_connection():
    def closed(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        follow(Broken("abc", [2]), "acdc-1", closed, lambda text: None, AT_ONCE)
