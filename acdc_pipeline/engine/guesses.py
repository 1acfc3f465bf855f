"""How likely each edge is to stay, from the decisions made so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from acdc_pipeline.graph import Edge, Node, Receiver

# Weight of the newest receiver against all earlier ones.
_MEMORY = 0.7
# What a source that was never tried is believed to do, and how sure one ever gets.
_PRIOR = 0.1
_LEAST, _MOST = 0.02, 0.9


class Guesses:
    """A history-based predictor: a source that kept its edges lately will keep the next one.

    Separate for values, keys, queries and everything else, since a head that others copy from
    is seldom the one they look for. Only the batch size depends on it, never a decision.
    """

    def __init__(self) -> None:
        self._stays: dict[tuple[str | None, Node], float] = defaultdict(lambda: _PRIOR)

    def chance_to_stay(self, edge: Edge) -> float:
        """Between 0 and 1."""
        return min(max(self._stays[edge.slot, edge.src], _LEAST), _MOST)

    def learn(self, receiver: Receiver, tried: Sequence[Node], kept: frozenset[Node]) -> None:
        """The sources `tried` on `receiver` were decided, and these `kept` their edge."""
        for source in tried:
            key = (receiver.slot, source)
            outcome = 1.0 if source in kept else 0.0
            self._stays[key] = _MEMORY * self._stays[key] + (1 - _MEMORY) * outcome
