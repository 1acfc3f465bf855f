"""What driver and workers exchange, and the channel between them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.store.failure import RemoteFailure

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of a module, which travels by name, and its arguments after the first, the shard."""


@runtime_checkable
class Channel(Protocol):
    """A worker as the driver reaches it. One message is answered before the next is sent."""

    def send(self, message: bytes) -> None:
        """Send a message. Raises WorkerDied."""
        ...

    def receive(self) -> bytes:
        """Wait for the answer. Raises WorkerDied."""
        ...

    def close(self) -> None:
        """End the worker."""
        ...


class WorkerDied(Exception):
    """The worker ended, or cannot be reached any more. Another one can do its work."""


@dataclass(frozen=True)
class Answer:
    """The result of the last call of a message, or the error that one of its calls raised."""

    result: Any = None
    error: AcdcError | RemoteFailure | None = None


def encode(message: Sequence[Call] | Answer) -> bytes:
    """Return a message as bytes."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def decode(data: bytes) -> Any:
    """Return the message that `encode` made."""
    return pickle.loads(data)


def answer(shard: Callable[[], object], message: bytes) -> bytes:
    """Make the calls of `message` on a shard, one after the other, and encode the answer.

    Args:
        shard: returns the shard; what it raises is an answer as well.
    """
    try:
        result = None
        for function, arguments in decode(message):
            result = function(shard(), *arguments)
        return encode(Answer(result))
    except AcdcError as error:
        return encode(Answer(error=error))
    except Exception as error:  # noqa: BLE001  (the driver records it as the failure of the run)
        return encode(Answer(error=RemoteFailure.of(error)))
