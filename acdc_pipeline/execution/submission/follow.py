"""Following the log of a job to its end, across broken connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import aiohttp

from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.execution.submission.job import Job

# Errors of Ray's client when a connection breaks.
_CONNECTION_ERRORS = (aiohttp.ClientError, OSError, RuntimeError, TimeoutError)


@runtime_checkable
class JobLog(Protocol):
    """The source of jobs and logs: `Jobs`."""

    def find(self, job_id: str) -> Job | None: ...

    def log(self, job_id: str) -> str: ...

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """Yield the log from its beginning, in pieces."""
        ...


@dataclass(frozen=True)
class Timeouts:
    """Timeouts while following a log, in seconds.

    Args:
        pauses: pause before each further connection; the last one is repeated.
        quiet: silence after which the job is looked up, in case the connection is dead.
        gone: time without any answer after which the cluster counts as gone.
    """

    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)
    quiet: float = 30.0
    gone: float = 300.0


@dataclass
class _Written:
    """The part of the log that has been written."""

    write: Callable[[str], None]
    characters: int = 0

    def take(self, text: str, position: int) -> int:
        """Write the new part of `text`, which begins at `position`. Returns its end."""
        end = position + len(text)
        if end > self.characters:
            self.write(text[max(0, self.characters - position) :])
            self.characters = end
        return end


def follow(
    jobs: JobLog,
    job_id: str,
    write: Callable[[str], None],
    notify: Callable[[str], None],
    timeouts: Timeouts | None = None,
) -> Job:
    """Write the log of a job as it grows, and return the job once it is over.

    Broken connections are renewed, and nothing is written twice.

    Args:
        notify: receives a message when the connection is lost and when it is back.

    Raises:
        ExecutionFailed: the cluster is gone, or does not know the job any more.
    """
    return asyncio.run(_follow(jobs, job_id, _Written(write), notify, timeouts or Timeouts()))


async def _follow(
    jobs: JobLog,
    job_id: str,
    written: _Written,
    notify: Callable[[str], None],
    timeouts: Timeouts,
) -> Job:
    connections = 0
    while True:
        before = written.characters
        await _one_connection(jobs, job_id, written, timeouts.quiet)
        job = await _find(jobs, job_id, notify, timeouts)
        # Behind a proxy that blocks websockets, this is the only source.
        await _write_rest(jobs, job_id, written)
        if job.is_over:
            return job
        connections = 0 if written.characters > before else connections + 1
        await asyncio.sleep(timeouts.pauses[min(connections, len(timeouts.pauses) - 1)])


async def _one_connection(jobs: JobLog, job_id: str, written: _Written, quiet: float) -> None:
    """Write the log until the connection ends or the job is over."""
    position = 0
    async with contextlib.aclosing(_pieces(jobs, job_id, quiet)) as pieces:
        async for text in pieces:
            position = written.take(text, position)


async def _pieces(jobs: JobLog, job_id: str, quiet: float) -> AsyncGenerator[str, None]:
    """Yield the pieces of the log until the connection ends or a silent job is over."""
    source = aiter(jobs.tail(job_id))
    waiting = asyncio.ensure_future(anext(source))
    try:
        while True:
            await asyncio.wait({waiting}, timeout=quiet)
            if waiting.done():
                yield waiting.result()
                waiting = asyncio.ensure_future(anext(source))
            elif (job := await asyncio.to_thread(jobs.find, job_id)) is None or job.is_over:
                return
    except (StopAsyncIteration, AcdcError, *_CONNECTION_ERRORS):
        return
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _find(
    jobs: JobLog, job_id: str, notify: Callable[[str], None], timeouts: Timeouts
) -> Job:
    """Return the current state of the job, retrying until the cluster answers."""
    loop = asyncio.get_running_loop()
    started, lost = loop.time(), False
    while True:
        try:
            job = await asyncio.to_thread(jobs.find, job_id)
        except AcdcError as error:
            if loop.time() - started > timeouts.gone:
                raise ExecutionFailed(
                    f"the cluster does not answer any more: {error.problem}",
                    where=job_id,
                    fix=f"the job may still run; later, acdc logs {job_id} --follow",
                ) from error
            if not lost:
                notify("connection lost, trying again")
            lost = True
            await asyncio.sleep(timeouts.pauses[0])
            continue
        if job is None:
            raise ExecutionFailed(
                "the cluster does not know this job any more, as after a restart",
                where=job_id,
                fix="submit again: runs that are in the store are not executed twice",
            )
        if lost:
            notify("connected again")
        return job


async def _write_rest(jobs: JobLog, job_id: str, written: _Written) -> None:
    """Write what followed the last piece, if it is still available."""
    log = ""
    with contextlib.suppress(AcdcError):
        log = await asyncio.to_thread(jobs.log, job_id)
    written.take(log, 0)
