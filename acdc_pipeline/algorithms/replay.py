"""Resuming an interrupted search from its decision log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from acdc_pipeline.algorithms.acdc import EdgeSearch
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.graph import Decision, Edge, Node, Receiver


@runtime_checkable
class RestorableSearch(EdgeSearch, Protocol):
    """A search that can take over decisions without testing."""

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Take over the decisions on `receiver`: of `sources`, those in `kept` keep their edges."""
        ...


class Replay:
    """A search that returns the values in a decision log, and those of `search` after its end.

    The algorithm takes the same decisions again without computing. Only whole receivers are
    replayed: `log` is what `acdc` passed to `on_resumable`.

    Args:
        search: a search that has not started.
        log: the first decisions of the same search; may be empty.
    """

    def __init__(self, search: RestorableSearch, log: Sequence[Decision]) -> None:
        self.search = search
        self.log = log
        self.at = 0
        self._visited: tuple[Receiver, list[Node]] | None = None
        self._kept: set[Node] = set()

    def metric(self) -> float:
        """The metric of the whole model."""
        return self.log[0].metric_before if self.log else self.search.metric()

    def visit(self, receiver: Receiver, sources: list[Node]) -> bool:
        """Move on to `receiver`. Raises ExecutionFailed if the log has another one here."""
        if self._visited is not None:
            self.search.restore(*self._visited, self._kept)
            self._visited = None
        if self.at == len(self.log):
            return self.search.visit(receiver, sources)
        logged = [decision.edge for decision in self.log[self.at : self.at + len(sources)]]
        if logged != [Edge.into(source, receiver) for source in sources]:
            raise ExecutionFailed(
                f"the decision log does not belong to this search: they differ at '{receiver}'",
                fix="run again without the checkpoint",
            )
        self._visited, self._kept = (receiver, sources), set(sources)
        return False

    def metric_without(self, edge: Edge) -> float:
        """The metric if `edge` were removed as well."""
        if self._visited is None:
            return self.search.metric_without(edge)
        decision = self.log[self.at]
        self.at += 1
        return decision.metric_after

    def remove(self, edge: Edge) -> None:
        """Remove `edge` for good."""
        if self._visited is None:
            self.search.remove(edge)
        else:
            self._kept.discard(edge.src)
