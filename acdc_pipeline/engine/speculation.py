"""Guessing decisions ahead, so that many states share one batch.

Removing edges e1, e2, … in a row gives states that build on one another. They are evaluated
together on the guess that each edge goes; the answers stay valid up to the first wrong guess,
like branch prediction: a wrong guess costs time, never correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.graph import Node

if TYPE_CHECKING:
    from acdc_pipeline.engine.search import Trial

# Wide enough to profit from the first batch, narrow enough to lose little where edges stay.
FIRST_WIDTH = 8


class Speculation:
    """The guesses of one receiver's edges, and the batch that rests on them.

    Args:
        max_states: the largest batch.
    """

    def __init__(self, max_states: int) -> None:
        self.max_states = max_states
        self._width = FIRST_WIDTH
        self._queue: list[Node] = []
        self._forget()

    def begin(self, sources: Sequence[Node]) -> None:
        """Turn to another receiver, whose edges will be tried in the order of `sources`."""
        self._queue = list(sources)

    def answers(self, source: Node) -> bool:
        """Whether the value without `source` is known for the current circuit.

        State k lacks the batch's first k + 1 edges, so its value holds for the circuit only
        once exactly the first k of them are gone.
        """
        return source in self._states and self._states.index(source) == self._n_taken

    def plan(self, source: Node) -> list[list[Node]]:
        """The states to evaluate: `source` and the edges after it, each with those before it."""
        width = max(1, min(self._width, self.max_states))
        start = self._queue.index(source) if source in self._queue else None
        edges = [source] if start is None else self._queue[start : start + width]
        return [edges[: k + 1] for k in range(len(edges))]

    def store(self, plan: list[list[Node]], values: list[float], trial: Trial) -> None:
        """Keep a batch's answers."""
        self._states = [state[-1] for state in plan]
        self._values, self._trial = values, trial
        self._n_taken = 0

    def value(self, source: Node) -> float:
        """The known value without `source`."""
        return self._values[self._states.index(source)]

    def take(self, source: Node) -> float:
        """`source` is removed for good: its value is now the circuit's."""
        value = self.value(source)
        self._n_taken = self._states.index(source) + 1
        return value

    def settle(self) -> tuple[Trial, int] | None:
        """Give up the batch: the trial and state that became the circuit, if any did."""
        taken = (self._trial, self._n_taken - 1) if self._trial and self._n_taken else None
        if self._trial is not None:
            self._adapt()
        self._forget()
        return taken

    def _adapt(self) -> None:
        """Widen after a batch that was right throughout, move towards the run length else."""
        if self._n_taken == len(self._states):
            self._width = min(2 * self._width, max(self.max_states, 1))
        else:
            self._width = max(2, (self._width + self._n_taken + 2) // 2)

    def _forget(self) -> None:
        self._states: list[Node] = []
        self._values: list[float] = []
        self._trial: Trial | None = None
        self._n_taken = 0
