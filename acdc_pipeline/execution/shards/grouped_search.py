"""The driver's side of a search whose prompts are spread over workers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, Self
from weakref import finalize

from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.execution.shards import group_search
from acdc_pipeline.execution.shards.group_search import Opened, Visited
from acdc_pipeline.execution.shards.messages import Call
from acdc_pipeline.execution.shards.pool import ShardPool, mean_of_groups
from acdc_pipeline.graph import Edge, Node, Receiver, Topology
from acdc_pipeline.specs.names import MetricKey


class GroupedSearch(Search[None]):
    """Decides which states to evaluate, and adds up what the groups of prompts return.

    The workers make every step of this search themselves, on each of their groups. Steps that
    return nothing wait for the next one that does. All that depends on a group beside its values
    (how many states its memory holds, what a batch costs) is taken over all groups, so that it
    does not depend on how these are distributed.

    Args:
        counts: the number of answers, or of prompts, of each group.
    """

    def __init__(
        self, pool: ShardPool, topology: Topology, counts: Sequence[int], metric: MetricKey
    ) -> None:
        self._pool, self._counts = pool, counts
        self._metric: MetricKey = metric
        self._number = pool.search_number()
        self._pending: list[Call] = []
        self._begun: list[tuple[Receiver, list[Node]]] = []
        self._restorable: list[tuple[Receiver, list[Node]]] = []
        self._since: list[Call] = []
        opened: list[Opened] = pool.for_groups([self._open_call])
        self._whole = mean_of_groups([each.value for each in opened], counts)
        self.max_states = opened[0].max_states
        self.first_overhead = opened[0].first_overhead
        super().__init__(topology)
        self._states, self._held = 1, 0
        self._register()

    def visit(self, receiver: Receiver, sources: Sequence[Node]) -> bool:
        """Turn to `receiver`; see `Search.visit`."""
        self.leave()
        self._begin(receiver, sources)
        arguments = self._receiver_numbers[receiver], self._numbers(sources)
        visited: list[Visited] = self._call((group_search.visit, arguments))
        resumable = all(each.resumable for each in visited)
        if resumable:
            # A new worker reaches this state from the decisions on the receivers before.
            self._restorable = self._begun[:-1]
            self._since = [(group_search.visit, arguments)]
        self._states = min(each.states for each in visited)
        self._held = sum(each.held for each in visited)
        self.speculation.overhead = visited[0].overhead
        return resumable

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Adopt earlier decisions; see `Search.restore`."""
        super().restore(receiver, sources, kept)
        self._pending.append(self._restore_call(receiver, sources))

    def remove(self, edge: Edge) -> None:
        """Remove `edge` for good; see `Search.remove`."""
        super().remove(edge)
        self._pending.append((group_search.remove, tuple(self._numbers([edge.src]))))

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` for good without a test; see `Search.drop`."""
        if not sources:
            return
        assert self.receiver is not None
        values = self._call((group_search.drop, (self._numbers(sources),)))
        self._current = mean_of_groups(values, self._counts)
        for source in sources:
            self._remove(self.receiver, source)

    def fork(self) -> Self:
        """Return an independent search that is where this one is."""
        other = super().fork()
        other._number = self._pool.search_number()
        self._call((group_search.fork, (other._number,)), logged=False)
        other._pending, other._since = [], list(self._since)
        other._begun, other._restorable = list(self._begun), list(self._restorable)
        other._register()
        return other

    def history(self) -> list[Call]:
        """Return the calls after which a new worker is where the others are."""
        restored = [self._restore_call(*decided) for decided in self._restorable]
        return [self._open_call, *map(self._numbered, [*restored, *self._since])]

    @property
    def held(self) -> int:
        """Bytes of activations of the current circuit, of all groups together."""
        return self._held

    def states_that_fit(self, receiver: Receiver) -> int:
        """How many states the memory of every group holds."""
        return min(self.max_states, self._states)

    def _refresh(self) -> bool:
        """Nothing to do: the workers do it."""
        return False

    def _open(self, receiver: Receiver) -> None:
        """Nothing to do: the workers do it."""

    def _begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        super()._begin(receiver, sources)
        self._begun.append((receiver, list(sources)))

    def _commit(self, batch: None, state: int) -> None:
        """Nothing to do: the workers do it."""

    def _whole_model(self) -> float:
        return self._whole

    def _evaluate(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[list[float], None]:
        gone = set(plan[-1].before)
        sources = self._numbers([state.source for state in plan])
        removed = [state.source in gone for state in plan]
        results: list[tuple[list[float], float]] = self._call(
            (group_search.evaluate, (sources, removed))
        )
        self.speculation.overhead = results[0][1]
        self.states_evaluated += len(plan)
        by_state = zip(*(values for values, _ in results), strict=True)
        return [mean_of_groups(values, self._counts) for values in by_state], None

    def _call(self, call: Call, *, logged: bool = True) -> list[Any]:
        """Make the steps that wait, and `call`; return its results, one per group."""
        calls = [*self._pending, call]
        results = self._pool.for_groups(map(self._numbered, calls))
        self._since += calls if logged else self._pending
        self._pending = []
        return results

    def _numbered(self, call: Call) -> Call:
        """The same call, which names this search."""
        return call[0], (self._number, *call[1])

    @property
    def _open_call(self) -> Call:
        return group_search.open_search, (self._number, self._metric)

    def _restore_call(self, receiver: Receiver, sources: Sequence[Node]) -> Call:
        kept = self.kept[receiver]
        arguments = self._receiver_numbers[receiver], self._numbers(sources), self._numbers(kept)
        return group_search.restore, arguments

    def _numbers(self, sources: Sequence[Node]) -> list[int]:
        return [self.topology.source_index[source] for source in sources]

    @cached_property
    def _receiver_numbers(self) -> dict[Receiver, int]:
        return {receiver: number for number, receiver in enumerate(self.topology.receivers)}

    def _register(self) -> None:
        self._pool.searches.add(self)
        finalize(self, self._pool.forget, self._number)
