"""The residual stream of a compiled model, cut into named subspaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

SCRATCH = "scratch"
"""The subspace that only distractors write and that nothing on the way to the logits reads."""


@dataclass(frozen=True)
class Residual:
    """Named subspaces, laid side by side in the order of `widths`."""

    widths: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", MappingProxyType(dict(self.widths)))

    @property
    def d_model(self) -> int:
        """Width of the whole stream."""
        return sum(self.widths.values())

    def __getitem__(self, name: str) -> slice:
        """The coordinates of subspace `name`."""
        starts = dict(zip(self.widths, accumulate(self.widths.values(), initial=0), strict=False))
        return slice(starts[name], starts[name] + self.widths[name])
