"""The interface of a search, and what all its implementations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Generic, Self

from acdc_pipeline.engine.search.speculation import Batch, EdgePredictor, PlannedState, Speculation
from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver, Topology
from acdc_pipeline.graph.node import router_of
from acdc_pipeline.graph.spans import spans_written


class Search(ABC, Generic[Batch]):
    """A circuit that is cut from the whole model, receivers visited from the output backwards.

    Attributes:
        max_states: the number of states beyond which a batch gains nothing: every product is
            already large.
        first_overhead: the fixed cost of the first batch, in units of one state.
        kept: the sources that each visited receiver still reads.
        readers: for each node that is alive, the finished receivers that still read it; for a
            router those that read its experts.
        ignored_span: a span that receivers and edges may name in a graph without spans.
        without: for receivers that lack edges from the beginning, which are never tested, the
            sources that they do not read.
    """

    max_states: int
    first_overhead: float
    ignored_span: str | None = None
    without: Mapping[Receiver, Sequence[Node]]

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.without = {}
        self.kept: dict[Receiver, list[Node]] = {}
        self.readers: dict[Node, list[Receiver]] = {}
        self.receiver: Receiver | None = None
        self.states_evaluated = 0
        self.speculation: Speculation[Batch] = Speculation(
            EdgePredictor(), self.max_states, self.first_overhead
        )
        self._current: float | None = None
        self._restored = False

    def metric(self) -> float:
        """The objective of the current circuit."""
        if self._current is None:
            self._current = self._whole_model()
        return self._current

    def visit(self, receiver: Receiver, sources: Sequence[Node]) -> bool:
        """Turn to `receiver`, whose incoming edges will be tried in the order of `sources`.

        Returns whether the state of the search now follows from the decisions so far alone: a
        search given those decisions by `restore` would continue from here with identical bits.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self.leave()
        resumable = self._refresh()
        self._begin(self._own(receiver), sources)
        return resumable

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Adopt earlier decisions on `receiver`: of `sources`, `kept` stay. Nothing is evaluated.

        Raises as `visit` does.
        """
        self.leave()
        receiver = self._own(receiver)
        self._begin(receiver, sources)
        for source in sources:
            if source not in kept:
                self._remove(receiver, source)
        self._restored = True

    def leave(self) -> None:
        """Finish the receiver being searched: its surviving edges are final."""
        if self.receiver is None:
            return
        self._finish_batch()
        kept = self.kept[self.receiver]
        self.speculation.learn(kept)
        for source in kept:
            self.readers.setdefault(source, []).append(self.receiver)
            if (router := router_of(source)) is not None:
                self.readers.setdefault(router, []).append(self.receiver)
        self.receiver = None

    def metric_without(self, edge: Edge) -> float:
        """The objective if `edge` were removed as well. The circuit does not change."""
        receiver = self._check(edge)
        if not self.speculation.has_value(edge.src):
            self._finish_batch()
            self.speculation.max_states = self.states_that_fit(receiver)
            self.evaluate(self.speculation.plan(edge.src))
        return self.speculation.value(edge.src)

    def evaluate(self, plan: list[PlannedState]) -> list[float]:
        """The objective of each planned state of the visited receiver.

        The last accepted state of an earlier plan becomes the current one; after that, the first
        planned state differs from the current circuit by one edge.
        """
        assert self.receiver is not None
        self._finish_batch()
        values, batch = self._evaluate(self.receiver, plan)
        self.speculation.store(plan, values, batch)
        return values

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, which must be the last one tried, for good."""
        receiver = self._check(edge)
        self._current = self.speculation.accept(edge.src)
        self._remove(receiver, edge.src)

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` into the visited receiver for good, without a test.

        Must be called before any edge into that receiver is tried.
        """
        if not sources:
            return
        assert self.receiver is not None
        plan = [PlannedState(sources[-1], tuple(sources[:-1]))]
        (self._current,), batch = self._evaluate(self.receiver, plan)
        self._commit(batch, 0)
        for source in sources:
            self._remove(self.receiver, source)

    def fork(self) -> Self:
        """Return a search that is where this one is, finished with its receiver, and independent.

        Both go on with the bits that this one alone would have. Tensors are shared: neither search
        writes into one.
        """
        self.leave()
        other = copy(self)
        other.kept = {receiver: list(sources) for receiver, sources in self.kept.items()}
        other.readers = {node: list(readers) for node, readers in self.readers.items()}
        other.speculation = self.speculation.fork()
        return other

    @property
    @abstractmethod
    def held(self) -> int:
        """Bytes of what the search holds of the current circuit beside the clean run."""

    @abstractmethod
    def _refresh(self) -> bool:
        """Recompute what rounding has reached, if due; the return value of `visit`."""

    @abstractmethod
    def _open(self, receiver: Receiver) -> None:
        """Prepare what `receiver` reads and its node holds; all its edges are in `kept`."""

    def _remove(self, receiver: Receiver, source: Node) -> None:
        """Remove one edge from the circuit."""
        self.kept[receiver].remove(source)

    @abstractmethod
    def _commit(self, batch: Batch, state: int) -> None:
        """Make one state of a batch the current one."""

    @abstractmethod
    def states_that_fit(self, receiver: Receiver) -> int:
        """How many states the memory budget holds, at least 1."""

    @abstractmethod
    def _whole_model(self) -> float:
        """The objective of the whole model."""

    @abstractmethod
    def _evaluate(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[list[float], Batch]:
        """The objective of the planned states, and what `_commit` needs of them."""

    def _begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        if receiver in self.kept:
            raise GraphError(f"'{receiver}' was already searched")
        spans = spans_written(receiver, self.topology.visible)
        read = any(reader.span in spans for reader in self.readers.get(receiver.node, ()))
        if receiver.node != LOGITS and not read:
            raise GraphError(f"'{receiver.node}' is dead: no edge out of it survived")
        absent = self.without.get(receiver, ())
        self.kept[receiver] = [s for s in self.topology.sources_of(receiver) if s not in absent]
        self._open(receiver)
        self.receiver = receiver
        self.speculation.begin(receiver, sources)

    def _check(self, edge: Edge) -> Receiver:
        receiver = self._own(edge.receiver)
        if receiver != self.receiver:
            raise GraphError(f"'{edge}' does not end in '{self.receiver}', which is being searched")
        return receiver

    def _own(self, receiver: Receiver) -> Receiver:
        """The receiver as the graph of this search has it."""
        ignored = receiver.span is not None and receiver.span == self.ignored_span
        return replace(receiver, span=None) if ignored else receiver

    def _finish_batch(self) -> None:
        """Make the last accepted state of the batch the current one."""
        accepted = self.speculation.finish_batch()
        if accepted is not None:
            self._commit(*accepted)
