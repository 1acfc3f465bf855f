"""Following a job's log to its end, over connections that break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import aiohttp

from acdc_pipeline.errors import AcdcError, ExecutionFailed
from acdc_pipeline.execution.submission.job import Job

# What Ray's client lets through when a connection breaks.
_BROKEN = (aiohttp.ClientError, OSError, RuntimeError, TimeoutError)


@runtime_checkable
class JobLog(Protocol):
    """Where logs come from: `Jobs`."""

    def find(self, job_id: str) -> Job | None:
        """The job as it is now."""
        ...

    def log(self, job_id: str) -> str:
        """Everything written so far."""
        ...

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """The log from its beginning, in pieces."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long to wait for a cluster; in seconds.

    Args:
        pauses: before each further connection; the last is used again and again.
        quiet: of silence after which the job is looked up, lest the connection is dead.
        gone: without any answer, after which the cluster counts as gone.
    """

    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)
    quiet: float = 30.0
    gone: float = 300.0


@dataclass
class _Written:
    """How much of the log has been passed on."""

    write: Callable[[str], None]
    characters: int = 0

    def take(self, text: str, position: int) -> int:
        """Passes on what is new of `text`, which begins at `position`; gives where it ends."""
        end = position + len(text)
        if end > self.characters:
            self.write(text[max(0, self.characters - position) :])
            self.characters = end
        return end


def follow(
    jobs: JobLog,
    job_id: str,
    write: Callable[[str], None],
    tell: Callable[[str], None],
    patience: Patience | None = None,
) -> Job:
    """Passes on a job's log while it is written, and gives the job once it is over.

    A connection that breaks is made again, and nothing is passed on twice.

    Args:
        write: takes the next part of the log.
        tell: told when the connection is lost and when it is back.
        patience: None is that of `Patience()`.

    Raises:
        ExecutionFailed: the cluster has gone, or does not know the job any more.
    """
    return asyncio.run(_follow(jobs, job_id, _Written(write), tell, patience or Patience()))


async def _follow(
    jobs: JobLog,
    job_id: str,
    written: _Written,
    tell: Callable[[str], None],
    patience: Patience,
) -> Job:
    connections = 0
    while True:
        before = written.characters
        await _one_connection(jobs, job_id, written, patience.quiet)
        job = await _found(jobs, job_id, tell, patience)
        # Behind a proxy that lets no websocket through, this is all there ever is.
        await _rest(jobs, job_id, written)
        if job.is_over:
            return job
        connections = 0 if written.characters > before else connections + 1
        await asyncio.sleep(patience.pauses[min(connections, len(patience.pauses) - 1)])


async def _one_connection(jobs: JobLog, job_id: str, written: _Written, quiet: float) -> None:
    """Passes on the log until the connection ends, however it does, or the job is over."""
    position = 0
    async with contextlib.aclosing(_pieces(jobs, job_id, quiet)) as pieces:
        async for text in pieces:
            position = written.take(text, position)


async def _pieces(jobs: JobLog, job_id: str, quiet: float) -> AsyncGenerator[str, None]:
    """The pieces of the log; ends when the connection does, and when the job ended in silence."""
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
    except (StopAsyncIteration, AcdcError, *_BROKEN):
        return
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _found(jobs: JobLog, job_id: str, tell: Callable[[str], None], patience: Patience) -> Job:
    """The job as it is now, asked for until the cluster answers."""
    loop = asyncio.get_running_loop()
    started, lost = loop.time(), False
    while True:
        try:
            job = await asyncio.to_thread(jobs.find, job_id)
        except AcdcError as error:
            if loop.time() - started > patience.gone:
                raise ExecutionFailed(
                    f"the cluster does not answer any more: {error.problem}",
                    where=job_id,
                    fix=f"the job may go on; later, acdc logs {job_id} --follow",
                ) from error
            if not lost:
                tell("connection lost, trying again")
            lost = True
            await asyncio.sleep(patience.pauses[0])
            continue
        if job is None:
            raise ExecutionFailed(
                "the cluster does not know this job any more, as after a restart",
                where=job_id,
                fix="submit again: runs that are in the store are not executed twice",
            )
        if lost:
            tell("connected again")
        return job


async def _rest(jobs: JobLog, job_id: str, written: _Written) -> None:
    """Passes on what came after the last piece, where it can still be had."""
    log = ""
    with contextlib.suppress(AcdcError):
        log = await asyncio.to_thread(jobs.log, job_id)
    written.take(log, 0)
