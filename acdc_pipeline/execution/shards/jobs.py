"""Independent jobs over several workers: any worker that is free computes a whole job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from queue import PriorityQueue
from threading import Lock, Thread
from typing import Any

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.shards.channels import Channels
from acdc_pipeline.execution.shards.messages import (
    Answer,
    Call,
    Channel,
    WorkerDied,
    decode,
    encode,
)
from acdc_pipeline.store.failure import RemoteFailure

_NOW, _LATER, _END = 0, 1, 2


@dataclass(order=True)
class _Job:
    rank: int
    number: int
    calls: Sequence[Call] = field(compare=False)
    result: Future[Any] = field(compare=False)


class JobPool:
    """Workers that compute independent jobs.

    A job is a call of a function of a module on a shard (`Shard`). Its result depends neither on
    the worker nor on what was computed before, so that it is the same for every number of workers,
    and a job of a worker that dies is repeated by the one that replaces it.

    Args:
        start: starts the worker of a number from 0, or raises WorkerDied. They start with the first
            job.
        size: the number of workers.
        report: receives a message when a worker was lost.
        ended: called when all workers were ended.

    Attributes:
        bytes_sent, bytes_received: what travelled, of all workers together.
        done: the number of jobs.
        losses: what was reported of workers that died; whoever begins a run clears it.
    """

    def __init__(
        self,
        start: Callable[[int], Channel],
        size: int,
        report: Callable[[str], None] = lambda message: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.size = size
        self.bytes_sent = self.bytes_received = self.done = 0
        self.losses: list[str] = []
        self._report = report
        self._channels, self._ended = Channels(start, size, self._lose), ended
        self._queue: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = count()
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._closed = False

    def submit(self, *calls: Call) -> Future[Any]:
        """Let a worker make `calls`; the result is that of the last one."""
        return self._submit(_NOW, calls)

    def submit_later(self, *calls: Call) -> Future[Any]:
        """As `submit`, after all jobs that were given to `submit`, and those of this method."""
        return self._submit(_LATER, calls)

    def drop_waiting(self) -> None:
        """Forget jobs that no worker has begun."""
        while not self._queue.empty():
            self._queue.get().result.cancel()

    def close(self) -> None:
        """End all workers; jobs that are not finished have no result."""
        self._closed = True
        self.drop_waiting()
        self._channels.close()
        for _ in self._threads:
            self._queue.put(_Job(_END, next(self._numbers), (), Future()))
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._channels.close()  # one that was being started meanwhile
        self._channels.forgive()
        self.drop_waiting()
        self._closed = False
        self._ended()

    def _lose(self, message: str) -> None:
        self.losses.append(message)
        self._report(message)

    def _submit(self, rank: int, calls: Sequence[Call]) -> Future[Any]:
        result: Future[Any] = Future()
        self._queue.put(_Job(rank, next(self._numbers), calls, result))
        if not self._threads:
            self._threads = [
                Thread(target=self._serve, args=(number,), daemon=True)
                for number in range(self.size)
            ]
            for thread in self._threads:
                thread.start()
        return result

    def _serve(self, number: int) -> None:
        """Give jobs to one worker, until the pool is closed."""
        while (job := self._queue.get()).rank != _END:
            if not job.result.set_running_or_notify_cancel():
                continue
            try:
                answer = self._answer(number, encode(job.calls))
            except BaseException as error:  # noqa: BLE001  (raised where the result is read)
                job.result.set_exception(error)
                continue
            self.done += 1
            if answer.error is not None:
                job.result.set_exception(answer.error)
            else:
                job.result.set_result(answer.result)

    def _answer(self, number: int, data: bytes) -> Answer:
        """The answer to a message; a worker that dies is replaced, and the message repeated."""
        while True:
            if self._closed:
                raise ExecutionFailed("the workers were ended")
            try:
                channel = self._channels[number]
                channel.send(data)
                received = channel.receive()
            except WorkerDied as died:
                if not self._closed:
                    self._channels.lose(number, died)
                continue
            answer: Answer = decode(received)
            with self._lock:
                self.bytes_sent += len(data)
                self.bytes_received += len(received)
            if isinstance(answer.error, RemoteFailure):
                # The state of a worker after an unexpected error is unknown.
                self._channels.end(number)
            return answer
