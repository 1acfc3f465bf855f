"""What a batch of states costs, in multiply-adds.

Counted, never timed: how states are batched must depend on the run alone, or roundings would
differ from one machine, or one moment, to the next.
"""

from __future__ import annotations

from math import inf

# Multiply-adds done in the time that a batch takes whatever its size: a few milliseconds of
# launches and bookkeeping.
_LAUNCHES = {"cpu": 8e7}
_LAUNCHES_ELSEWHERE = 5e10

# Multiply-adds done in the time that one weight takes to arrive from memory.
_PER_WEIGHT_READ = 20


class BatchWork:
    """The matrix products of one batch, added up as they are done."""

    def __init__(self, n_states: int, device_type: str) -> None:
        self.n_states = n_states
        self.launches = _LAUNCHES.get(device_type, _LAUNCHES_ELSEWHERE)
        self.products = 0
        self.weights = 0

    def add(self, rows_per_state: int, weights: int) -> None:
        """Rows of every state were multiplied with matrices of so many weights."""
        self.products += self.n_states * rows_per_state * weights
        self.weights += weights

    @property
    def overhead(self) -> float:
        """What the batch cost beside its states, in states; inf if those cost nothing."""
        fixed = self.launches + _PER_WEIGHT_READ * self.weights
        return inf if self.products == 0 else fixed * self.n_states / self.products
