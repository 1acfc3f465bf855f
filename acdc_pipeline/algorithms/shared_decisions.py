"""ACDC at several thresholds, each continued from where it first differs from an earlier one.

Up to there the circuits are the same, so is what the removal of each edge costs, and only the
comparison with the threshold is made again. From there on nothing is known: what an edge costs
depends on the circuit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from acdc_pipeline.algorithms.replay import Replay, RestorableSearch
from acdc_pipeline.graph import Decision, Node, Receiver
from acdc_pipeline.graph.search_order import ThresholdRange
from acdc_pipeline.specs.names import Difference


@runtime_checkable
class ForkableSearch(RestorableSearch, Protocol):
    """A search that can be continued in two ways."""

    states_evaluated: int

    @property
    def held(self) -> int:
        """Bytes of what the search holds of the current circuit."""
        ...

    def fork(self) -> Self:
        """Return an independent search that is where this one is."""
        ...


@dataclass(frozen=True)
class Branch:
    """A place between two receivers at which searches at other thresholds can continue.

    Args:
        thresholds: those at which a search comes by here.
        log: the decisions of the search that came by; the first `length` of them are before it.
        search: the search at this place; None at the end, where nothing is left to test.
    """

    thresholds: ThresholdRange
    log: list[Decision]
    length: int
    search: ForkableSearch | None

    @property
    def held(self) -> int:
        """Bytes that are held for this branch."""
        return 0 if self.search is None else self.search.held


class SharedDecisions:
    """What ACDC decided at some thresholds, for searches of the same problem at others.

    The results are the same to the bit as those of searches from the beginning.

    Args:
        room: bytes that all branches together may hold. The oldest ones go first.

    Attributes:
        states_evaluated: circuits evaluated in all searches together.
        replayed: decisions taken over from earlier searches.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.states_evaluated = 0
        self.replayed = 0
        self._branches: deque[Branch] = deque()

    def search(
        self,
        threshold: float,
        difference: Difference,
        start: Callable[[], ForkableSearch],
        log: Sequence[Decision] = (),
    ) -> SharedSearch:
        """Return a search at `threshold`, as far as earlier ones have come.

        Args:
            start: makes the search that has not started.
            log: decisions of an interrupted attempt, which are replayed if they go further.
        """
        known = [branch for branch in self._branches if threshold in branch.thresholds]
        best = max(known, key=lambda branch: branch.length, default=None)
        if best is None or best.length < len(log):
            return SharedSearch(self, difference, start(), log, continues=False)
        self.replayed += best.length
        # At the end of a whole log there is nothing left to do for a search.
        search = start() if best.search is None else best.search.fork()
        return SharedSearch(self, difference, search, best.log[: best.length], continues=True)

    def add(self, branch: Branch) -> None:
        """Keep a branch, if there is room."""
        if branch.held > self.room:
            return
        last = self._branches[-1] if self._branches else None
        if last and last.log is branch.log and last.thresholds == branch.thresholds:
            # Whoever comes by there comes by here as well.
            self._branches.pop()
        self._branches.append(branch)
        while sum(kept.held for kept in self._branches) > self.room:
            self._branches.popleft()


class SharedSearch:
    """A search that leaves a branch before every receiver; `record` has to see every decision.

    Args:
        shared: where branches are left.
        search: the search, which has not started.
        log: decisions to replay.
        continues: whether the search has taken those decisions already.
    """

    def __init__(
        self,
        shared: SharedDecisions,
        difference: Difference,
        search: ForkableSearch,
        log: Sequence[Decision],
        *,
        continues: bool,
    ) -> None:
        self._shared = shared
        self._difference: Difference = difference
        self._search, self._continues = search, continues
        self._evaluated_before = search.states_evaluated
        self._log: list[Decision] = []
        self._thresholds = ThresholdRange()
        self.metric = search.metric
        self.metric_without = search.metric_without
        self.remove = search.remove
        self.replay = Replay(self, log)

    def record(self, decision: Decision) -> None:
        """Take note of a decision, replayed or new."""
        self._log.append(decision)
        self._thresholds = self._thresholds.after(decision, self._difference)

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Take over decisions, unless the search has them already."""
        if not self._continues:
            self._search.restore(receiver, sources, kept)

    def visit(self, receiver: Receiver, sources: list[Node]) -> bool:
        """Leave a branch and move on to `receiver`."""
        if self._log:
            self._leave_branch(self._search.fork())
        return self._search.visit(receiver, sources)

    def finish(self) -> None:
        """Keep the whole log, once the algorithm has ended."""
        self._shared.states_evaluated += self._search.states_evaluated - self._evaluated_before
        self._leave_branch(None)

    def _leave_branch(self, search: ForkableSearch | None) -> None:
        self._shared.add(Branch(self._thresholds, self._log, len(self._log), search))
