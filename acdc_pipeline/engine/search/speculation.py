"""Evaluating states before it is known that they are needed, so that many share one batch.

Removing edges e1, e2, … in a row gives states that build on one another. They are evaluated
together on a prediction of which edges will be removed. The values stay valid up to the first wrong
prediction, as with branch prediction in a processor: a wrong one costs time, never correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from acdc_pipeline.graph import Edge, Node, Receiver

Batch = TypeVar("Batch")

# Weight of all earlier receivers against the newest one.
_MEMORY = 0.7
# Prior of the base rate: as if this many edges had been tried before the first, and this many kept.
_PRIOR_TRIED, _PRIOR_KEPT = 50, 5
# Limits of every predicted probability.
_LEAST, _MOST = 0.005, 0.9


class EdgePredictor:
    """Predicts from earlier decisions: a source whose last edges were kept will keep the next one.

    Histories are separate for values, keys, queries and everything else, since a head that others
    copy from is seldom one that they look for; and for each span. Predictions decide the batch
    size, never an edge.
    A source that was never tried gets the base rate of all.
    """

    def __init__(self) -> None:
        self._history: dict[tuple[str | None, str | None, Node], float] = {}
        self._tried, self._kept = _PRIOR_TRIED, _PRIOR_KEPT

    def keep_probability(self, edge: Edge) -> float:
        """The probability that `edge` will be kept."""
        probability = self._history.get((edge.slot, edge.span, edge.src), self._base_rate)
        return min(max(probability, _LEAST), _MOST)

    def learn(self, receiver: Receiver, tried: Sequence[Node], kept: frozenset[Node]) -> None:
        """Record the decisions on `receiver`: the edges of `tried` were tested, `kept` stayed."""
        before = self._base_rate
        for source in tried:
            key = (receiver.slot, receiver.span, source)
            outcome = 1.0 if source in kept else 0.0
            old = self._history.get(key, before)
            self._history[key] = _MEMORY * old + (1 - _MEMORY) * outcome
        self._tried += len(tried)
        self._kept += sum(source in kept for source in tried)

    def fork(self) -> EdgePredictor:
        """Return a predictor with the same history, which learns on its own."""
        other = copy(self)
        other._history = dict(self._history)
        return other

    @property
    def _base_rate(self) -> float:
        return self._kept / self._tried


class RepeatedPredictor(EdgePredictor):
    """Predicts an edge from the decisions of earlier searches on it, which used this predictor.

    The first search, and an edge that was never tried, are predicted as by an `EdgePredictor`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: dict[Edge, list[int]] = {}

    def keep_probability(self, edge: Edge) -> float:
        """The share of earlier searches that kept `edge`, between it and the base rate."""
        if (known := self._outcomes.get(edge)) is None:
            return super().keep_probability(edge)
        tried, kept = known
        return min(max((kept + self._base_rate) / (tried + 1), _LEAST), _MOST)

    def learn(self, receiver: Receiver, tried: Sequence[Node], kept: frozenset[Node]) -> None:
        super().learn(receiver, tried, kept)
        for source in tried:
            known = self._outcomes.setdefault(Edge.into(source, receiver), [0, 0])
            known[0] += 1
            known[1] += source in kept


@dataclass(frozen=True)
class PlannedState:
    """One state of a batch: without the edge of `source`, and those of `before` as predicted."""

    source: Node
    before: tuple[Node, ...]

    @property
    def removed(self) -> tuple[Node, ...]:
        """Every source whose edge the circuit has and this state lacks."""
        return (*self.before, self.source)


class Speculation(Generic[Batch]):
    """The predictions for one receiver's edges, and the batch evaluated on their basis.

    Args:
        overhead: the fixed cost of a batch, in units of one state. May change before each plan.
    """

    def __init__(self, predictor: EdgePredictor, max_states: int, overhead: float) -> None:
        self.predictor = predictor
        self.max_states = max_states
        self.overhead = overhead
        self._receiver: Receiver | None = None
        self._queue: list[Node] = []
        self._clear()

    def begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        """Turn to another receiver, whose edges will be tried in the order of `sources`."""
        self._receiver = receiver
        self._queue = list(sources)

    def has_value(self, source: Node) -> bool:
        """Whether the value without `source` is known for the current circuit.

        The value of a state holds once exactly the edges in its `before` were removed.
        """
        index = self._index.get(source)
        return index is not None and list(self._states[index].before) == self._accepted

    def plan(self, source: Node) -> list[PlannedState]:
        """The states to evaluate next: `source` and edges after it, on the likeliest path.

        A state is useful if all predictions before it come true. The batch grows as long as the
        next state's probability of that exceeds the useful states per cost so far, which by renewal
        theory is optimal for a long sequence of batches.
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
            kept = self.predictor.keep_probability(Edge.into(candidate, self._receiver))
            if kept < 0.5:
                before.append(candidate)
            all_right *= max(kept, 1.0 - kept)
            cost = self.overhead + len(states)
            if len(states) >= self.max_states or all_right * cost < useful:
                break
        return states

    def store(self, states: list[PlannedState], values: list[float], batch: Batch) -> None:
        """Keep the values of a batch, and the batch."""
        self._states, self._values, self._batch = states, values, batch
        self._index = {state.source: i for i, state in enumerate(states)}
        self._accepted = []

    def value(self, source: Node) -> float:
        """The known value without `source`."""
        return self._values[self._index[source]]

    def accept(self, source: Node) -> float:
        """Record that the edge of `source` was removed; its value is now the circuit's."""
        self._accepted.append(source)
        return self.value(source)

    def finish_batch(self) -> tuple[Batch, int] | None:
        """Forget the batch; return it with the last accepted state, if there is one."""
        current = None
        if self._batch is not None and self._accepted:
            current = (self._batch, self._index[self._accepted[-1]])
        self._clear()
        return current

    def learn(self, kept: Sequence[Node]) -> None:
        """Record that the receiver is finished and these sources kept their edge."""
        assert self._receiver is not None
        self.predictor.learn(self._receiver, self._queue, frozenset(kept))

    def fork(self) -> Speculation[Batch]:
        """Return one with the same predictions. Only between two receivers: no batch is copied."""
        other = copy(self)
        other.predictor = self.predictor.fork()
        other._clear()
        return other

    def _clear(self) -> None:
        self._states: list[PlannedState] = []
        self._values: list[float] = []
        self._index: dict[Node, int] = {}
        self._batch: Batch | None = None
        self._accepted: list[Node] = []
