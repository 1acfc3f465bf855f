"""How likely each edge is to stay, from the decisions made so far."""

from __future__ import annotations

from collections.abc import Sequence

from acdc_pipeline.graph import Edge, Node, Receiver

# Weight of the newest receiver against all earlier ones.
_MEMORY = 0.7
# A source that was never tried is believed to do what the others did: as if so many edges had been
# tried before the first, and so many of them had stayed.
_PRIOR_TRIED, _PRIOR_STAYED = 50, 5
# How sure one ever gets.
_LEAST, _MOST = 0.005, 0.9


class Guesses:
    """A history-based predictor: a source that kept its edges lately will keep the next one.

    Separate for values, keys, queries and everything else, since a head that others copy from
    is seldom the one they look for. Only the batch size depends on it, never a decision.
    """

    def __init__(self) -> None:
        self._stays: dict[tuple[str | None, Node], float] = {}
        self._tried, self._stayed = _PRIOR_TRIED, _PRIOR_STAYED

    def chance_to_stay(self, edge: Edge) -> float:
        """Between 0 and 1."""
        chance = self._stays.get((edge.slot, edge.src), self._base_rate)
        return min(max(chance, _LEAST), _MOST)

    def learn(self, receiver: Receiver, tried: Sequence[Node], kept: frozenset[Node]) -> None:
        """The sources `tried` on `receiver` were decided, and these `kept` their edge."""
        before = self._base_rate
        for source in tried:
            key = (receiver.slot, source)
            outcome = 1.0 if source in kept else 0.0
            self._stays[key] = _MEMORY * self._stays.get(key, before) + (1 - _MEMORY) * outcome
        self._tried += len(tried)
        self._stayed += sum(source in kept for source in tried)

    @property
    def _base_rate(self) -> float:
        return self._stayed / self._tried
