"""The channels to the workers of a pool: started when first used, replaced when one dies."""

from __future__ import annotations

from collections.abc import Callable

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.execution.shards.messages import Channel, WorkerDied

ATTEMPTS = 4
"""How often one worker is started for a run; each time but the first replaces one that died."""


class Channels:
    """Workers by their number from 0.

    Args:
        start: starts the worker of a number, or raises WorkerDied.
        size: the number of workers.
        report: receives a message when a worker was lost.
    """

    def __init__(
        self, start: Callable[[int], Channel], size: int, report: Callable[[str], None]
    ) -> None:
        self.size = size
        self._start, self._report = start, report
        self._open: dict[int, Channel] = {}
        self._losses = [0] * size

    def __contains__(self, number: int) -> bool:
        """Whether a worker is started."""
        return number in self._open

    def __getitem__(self, number: int) -> Channel:
        """The channel to a worker, which is started if it is not. Raises WorkerDied."""
        if number not in self._open:
            self._open[number] = self._start(number)
        return self._open[number]

    def end(self, number: int) -> None:
        """End a worker; the next use starts another one."""
        channel = self._open.pop(number, None)
        if channel is not None:
            channel.close()

    def lose(self, number: int, died: WorkerDied) -> None:
        """Note that a worker died. Raises ExecutionFailed if it did too often."""
        self.end(number)
        self._losses[number] += 1
        if self._losses[number] >= ATTEMPTS:
            raise ExecutionFailed(
                f"worker {number + 1} of {self.size} died {ATTEMPTS} times; the last time: {died}",
                fix="look for memory that runs out: each worker holds the weights of the model",
            )
        self._report(f"worker {number + 1} of {self.size} died ({died}); another one replaces it")

    def forgive(self) -> None:
        """Count losses from 0 again, for another run."""
        self._losses = [0] * self.size

    def close(self) -> None:
        """End all workers."""
        for number in list(self._open):
            self.end(number)
