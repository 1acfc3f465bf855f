"""Workers that are processes of this machine, reached through their standard input and output."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO
from weakref import finalize

from acdc_pipeline.execution.shards.messages import WorkerDied, answer
from acdc_pipeline.store.failure import RemoteFailure

KERNEL_EVENTS = Path("/proc/vmstat")
"""Where Linux counts the processes that it killed for want of memory."""

_LENGTH = struct.Struct(">Q")
_SECONDS_TO_END = 2.0


class ProcessChannel:
    """A worker process, which ends when this object does or its driver dies.

    Args:
        device: the device it computes on.
        threads: CPU threads of torch.
    """

    def __init__(self, device: str, threads: int) -> None:
        command = [sys.executable, "-m", __name__, device, str(threads)]
        # A new interpreter in place of a fork, which would inherit locks, and of a spawn, which
        # would run the main module of the driver a second time.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin, self.process.stdout
        self._kills_before = _out_of_memory_kills()
        self._finalizer = finalize(self, _end, self.process)

    def send(self, message: bytes) -> None:
        """Send a message. Raises like `receive`."""
        try:
            write_message(self._to, message)
        except (OSError, ValueError) as error:
            raise self._died() from error

    def receive(self) -> bytes:
        """Wait for the answer.

        Raises:
            WorkerDied: the process ended.
            RemoteFailure: it was killed, and the kernel has killed processes for want of memory
                since it started.
        """
        message = read_message(self._from)
        if message is None:
            raise self._died()
        return message

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def _died(self) -> WorkerDied | RemoteFailure:
        try:
            code = self.process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return WorkerDied("it does not answer")
        if code == -signal.SIGKILL and _out_of_memory_kills() > self._kills_before:
            return RemoteFailure.of(MemoryError("the kernel killed a worker: memory ran out"))
        if code < 0:
            return WorkerDied(f"killed by {signal.Signals(-code).name}")
        return WorkerDied(f"it ended with exit code {code}")


def _out_of_memory_kills() -> int:
    """Return how many processes the kernel killed for want of memory; 0 where it does not say."""
    with suppress(OSError):
        for line in KERNEL_EVENTS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def write_message(stream: IO[bytes], message: bytes) -> None:
    """Write a message with its length before it."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """Read a message; None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


def main(device: str, threads: int) -> None:
    """Answer messages until the driver closes the stream, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints would otherwise be read as an answer
    from acdc_pipeline.execution.shards.shard import Shard

    shard = cache(partial(Shard, device, threads))
    while (message := read_message(requests)) is not None:
        try:
            write_message(answers, answer(shard, message))
        except BrokenPipeError:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    # First of all: to close a stream waits for the thread that reads an answer from it.
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # unsent bytes for a process that is gone
                stream.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
