"""The workers that the prompts of a run are spread over, as the driver sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

from acdc_pipeline.execution.shards.channels import Channels
from acdc_pipeline.execution.shards.group_search import close
from acdc_pipeline.execution.shards.messages import (
    Answer,
    Call,
    Channel,
    WorkerDied,
    decode,
    encode,
)
from acdc_pipeline.execution.shards.shard import (
    ShardFacts,
    for_group,
    for_groups,
    part_of,
    prepare,
)
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store.failure import RemoteFailure


@runtime_checkable
class Recoverable(Protocol):
    """A search in progress, whose state a worker that was replaced has to reach again."""

    def history(self) -> list[Call]:
        """Return the calls after which a new worker is where the others are."""
        ...


class ShardPool:
    """Workers that each hold a part of a run's prompts.

    Args:
        start: starts the worker of a number from 0, or raises WorkerDied.
        size: the number of workers.
        report: receives a message when a worker was lost.

    Attributes:
        bytes_sent, bytes_received: what travelled, of all workers together.
        exchanges: messages to all workers.
    """

    def __init__(
        self,
        start: Callable[[int], Channel],
        size: int,
        report: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.size = size
        self.searches: WeakSet[Any] = WeakSet()
        self.bytes_sent = self.bytes_received = self.exchanges = 0
        self._channels = Channels(start, size, report)
        self._preparation: list[Call] = []
        self._prepared_for: tuple[object, ...] | None = None
        self._facts: list[ShardFacts] = []
        self._numbers = count()
        self._closed: list[int] = []

    def prepare(self, run: RunSpec, task: TaskSpec, memory: int) -> list[ShardFacts]:
        """Make every worker ready for its part of `run`.

        Searches of earlier runs end, unless these differ in the method alone.

        Raises:
            ExecutionFailed: a worker died again and again.
            AcdcError: as `Worker.execute`.
        """
        self._channels.forgive()
        key = part_of(run, memory)
        if self._prepared_for == key:
            return self._facts
        self.searches.clear()
        self._closed.clear()
        self._prepared_for = None
        self._preparation = [
            (prepare, (run, task, memory, number, self.size)) for number in range(self.size)
        ]
        self._facts = self._exchange([encode([call]) for call in self._preparation], recover=False)
        self._prepared_for = key
        return self._facts

    def search_number(self) -> int:
        """Return a number for a new search."""
        return next(self._numbers)

    def forget(self, number: int) -> None:
        """Let the workers forget a search with the next message."""
        self._closed.append(number)

    def for_groups(self, calls: Iterable[Call]) -> list[Any]:
        """Make `calls` for every group; return the results of the last, one per group in order."""
        message: list[Call] = [(for_groups, (function, *args)) for function, args in calls]
        if self._closed:
            message.insert(0, (for_groups, (close, list(self._closed))))
            self._closed.clear()
        return list(chain.from_iterable(self._exchange([encode(message)] * self.size)))

    def for_groups_in_steps(
        self, call: Call, n_groups: int, advance: Callable[[float], None]
    ) -> list[Any]:
        """As `for_groups` with one call, one group of every worker after the other."""
        steps = -(-n_groups // self.size)
        function, args = call
        by_worker: list[list[Any]] = [[] for _ in range(self.size)]
        for step in range(steps):
            message: list[Call] = [(for_group, (step, function, *args))]
            for number, results in enumerate(self._exchange([encode(message)] * self.size)):
                by_worker[number] += results
            advance((step + 1) / steps)
        return list(chain.from_iterable(by_worker))

    def close(self) -> None:
        """End all workers."""
        self._prepared_for = None
        self._channels.close()

    def _exchange(self, data: Sequence[bytes], *, recover: bool = True) -> list[Any]:
        """Send every worker its encoded message; return their results in order."""
        self.exchanges += 1
        try:
            lost = [
                number
                for number in range(self.size)
                if not self._sent(number, data[number], recover)
            ]
            answers = [
                self._retried(number, data[number], recover)
                if number in lost
                else self._received(number, data[number], recover)
                for number in range(self.size)
            ]
        except BaseException:
            # Interrupted between a message and its answer: the workers cannot be used any more.
            self.close()
            raise
        for each in answers:
            if isinstance(each.error, RemoteFailure):
                self.close()  # the state of a worker after an unexpected error is unknown
        for each in answers:
            if each.error is not None:
                raise each.error
        return [each.result for each in answers]

    def _sent(self, number: int, data: bytes, recover: bool) -> bool:
        if recover and number not in self._channels:
            return False
        try:
            self._channels[number].send(data)
        except WorkerDied as died:
            self._channels.lose(number, died)
            return False
        self.bytes_sent += len(data)
        return True

    def _received(self, number: int, data: bytes, recover: bool) -> Answer:
        try:
            received = self._channels[number].receive()
        except WorkerDied as died:
            self._channels.lose(number, died)
            return self._retried(number, data, recover)
        self.bytes_received += len(received)
        return decode(received)

    def _retried(self, number: int, data: bytes, recover: bool) -> Answer:
        """Replace a worker, bring the new one to where the lost one was, and repeat a message."""
        catch_up = [[self._preparation[number]]] if recover else []
        if recover:
            catch_up += [
                [(for_groups, (function, *args)) for function, args in search.history()]
                for search in self.searches
            ]
        while True:
            try:
                channel = self._channels[number]
                for message in catch_up:
                    channel.send(encode(message))
                    caught_up: Answer = decode(channel.receive())
                    if caught_up.error is not None:
                        return caught_up
                channel.send(data)
                return decode(channel.receive())
            except WorkerDied as died:
                self._channels.lose(number, died)


def mean_of_groups(values: Sequence[float], counts: Sequence[int]) -> float:
    """The mean over all answers from the means of the groups, added up in their order.

    Args:
        counts: the number of answers, or of prompts, of each group.
    """
    total = 0.0
    for value, n in zip(values, counts, strict=True):
        total += n * value
    return total / sum(counts)
