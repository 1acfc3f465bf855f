"""Guessing decisions ahead, so that many states share one batch.

Removing edges e1, e2, … in a row gives states that build on one another. They are evaluated
together on a guess of which edges go; the answers stay valid up to the first wrong guess, like
branch prediction: a wrong guess costs time, never correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from acdc_pipeline.engine.guesses import Guesses
from acdc_pipeline.graph import Edge, Node, Receiver

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class PlannedState:
    """One state of a batch: `source`'s edge gone, and those `before` that were guessed to go."""

    source: Node
    before: tuple[Node, ...]

    @property
    def gone(self) -> tuple[Node, ...]:
        """Every source whose edge this state lacks beyond the circuit's own."""
        return (*self.before, self.source)


class Speculation(Generic[Batch]):
    """The guesses about one receiver's edges, and the batch that rests on them.

    Args:
        guesses: how likely each edge is to stay.
        max_states: the largest batch.
        overhead: what a batch costs beside its states, in units of one state. May be set anew
            before each plan.
    """

    def __init__(self, guesses: Guesses, max_states: int, overhead: float) -> None:
        self.guesses = guesses
        self.max_states = max_states
        self.overhead = overhead
        self._receiver: Receiver | None = None
        self._queue: list[Node] = []
        self._forget()

    def begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        """Turn to another receiver, whose edges will be tried in the order of `sources`."""
        self._receiver = receiver
        self._queue = list(sources)

    def answers(self, source: Node) -> bool:
        """Whether the value without `source` is known for the circuit as it is now.

        A state's value holds once exactly the edges it was planned to come after are gone.
        """
        index = self._index.get(source)
        return index is not None and list(self._states[index].before) == self._taken

    def plan(self, source: Node) -> list[PlannedState]:
        """The states to evaluate next: `source` and edges after it, on the likeliest path.

        A state is of use if all guesses before it hold. The batch grows while the next state's
        chance of that is above the batch's useful states per cost so far: by renewal theory that
        makes the most of a long sequence of batches.
        """
        if source not in self._queue:
            return [PlannedState(source, ())]
        assert self._receiver is not None
        states: list[PlannedState] = []
        before: list[Node] = []
        all_right, useful = 1.0, 0.0
        for candidate in self._queue[self._queue.index(source) :]:
            states.append(PlannedState(candidate, tuple(before)))
            useful += all_right
            stays = self.guesses.chance_to_stay(Edge.into(candidate, self._receiver))
            if stays < 0.5:
                before.append(candidate)
            all_right *= max(stays, 1.0 - stays)
            cost = self.overhead + len(states)
            if len(states) >= self.max_states or all_right * cost < useful:
                break
        return states

    def store(self, states: list[PlannedState], values: list[float], trial: Batch) -> None:
        """Keep a batch's answers."""
        self._states, self._values, self._trial = states, values, trial
        self._index = {state.source: i for i, state in enumerate(states)}
        self._taken = []

    def value(self, source: Node) -> float:
        """The known value without `source`."""
        return self._values[self._index[source]]

    def take(self, source: Node) -> float:
        """`source`'s edge is removed for good: its value is now the circuit's."""
        self._taken.append(source)
        return self.value(source)

    def settle(self) -> tuple[Batch, int] | None:
        """Give up the batch: the trial and state that became the circuit, if any did."""
        current = None
        if self._trial is not None and self._taken:
            current = (self._trial, self._index[self._taken[-1]])
        self._forget()
        return current

    def learn(self, kept: Sequence[Node]) -> None:
        """The receiver is done: these of its sources stayed."""
        assert self._receiver is not None
        self.guesses.learn(self._receiver, self._queue, frozenset(kept))

    def _forget(self) -> None:
        self._states: list[PlannedState] = []
        self._values: list[float] = []
        self._index: dict[Node, int] = {}
        self._trial: Batch | None = None
        self._taken: list[Node] = []
