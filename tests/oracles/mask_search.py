"""The search that runs each circuit whole: slow, from any circuit, on any graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from acdc_pipeline.algorithms.consensus import Mask
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.engine.without_edges import by_receiver
from acdc_pipeline.graph import Edge, Node, Receiver, Topology


class MaskSearch(Search[None]):
    """A search from a circuit in which edges are removed whose receivers were not visited yet.

    Args:
        measure: the objective of some circuits, higher is worse.
        removed: the edges that the circuit lacks from the beginning; they are never tested.
    """

    max_states = 64
    first_overhead = 1.0

    def __init__(
        self,
        topology: Topology,
        measure: Callable[[Sequence[Mask]], list[float]],
        removed: Collection[Edge] = (),
    ) -> None:
        super().__init__(topology)
        self.measure = measure
        self.mask = ~topology.edge_mask(removed)
        self.without = by_receiver(removed)

    @property
    def held(self) -> int:
        return self.mask.nbytes

    def states_that_fit(self, receiver: Receiver) -> int:
        return self.max_states

    def _refresh(self) -> bool:
        return False

    def _open(self, receiver: Receiver) -> None:
        """No activation is held."""

    def _remove(self, receiver: Receiver, source: Node) -> None:
        super()._remove(receiver, source)
        self.mask[self._at(receiver, source)] = False

    def _commit(self, batch: None, state: int) -> None:
        """Nothing follows from a state but the edges that it lacks."""

    def _whole_model(self) -> float:
        return self.measure([self.mask])[0]

    def _evaluate(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[list[float], None]:
        masks = []
        for state in plan:
            mask = self.mask.copy()
            mask[[self._at(receiver, source) for source in state.removed]] = False
            masks.append(mask)
        self.states_evaluated += len(plan)
        return self.measure(masks), None

    def _at(self, receiver: Receiver, source: Node) -> int:
        return self.topology.edge_index(Edge.into(source, receiver))
