"""What of a circuit is measured, and how much is drawn for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Part = Literal[
    "curve",
    "null",
    "completeness",
    "worst knockouts",
    "minimality",
    "causal scrubbing",
    "fresh prompts",
    "stability",
    "transfer",
]
"""What can be measured beside the circuit itself, in the order in which it is."""

Scope = Literal["basic", "full"]
"""`basic` takes seconds: one forward pass a circuit, of few circuits. `full` is everything."""

PARTS: tuple[Part, ...] = get_args(Part)
BASIC: frozenset[Part] = frozenset(("curve", "null"))

OF_DRAWS: tuple[Part, ...] = ("completeness", "minimality", "causal scrubbing")
OF_RESTARTS: tuple[Part, ...] = ("worst knockouts",)
OF_RESAMPLES: tuple[Part, ...] = ("stability", "transfer")

AMOUNTS: Mapping[str, tuple[Part, ...]] = {
    "draws": OF_DRAWS,
    "restarts": OF_RESTARTS,
    "resamples": OF_RESAMPLES,
}
"""The parts that each amount beside the null's is of."""

DRAWS, RESTARTS, RESAMPLES = 5, 2, 5
"""How much is drawn where nothing else is given."""


@dataclass(frozen=True)
class Effort:
    """What is measured, and how much is drawn.

    Args:
        parts: what is measured beside the circuit itself.
        null: random circuits of equal size; None takes as many as are cheap in the model.
        draws: random sets of nodes for completeness and minimality, and rounds of scrubbing.
        restarts: greedy searches for the nodes without which circuit and model differ most.
        resamples: bootstrap resamples of the prompts on which the search is repeated.
        seed: of everything drawn here.
    """

    parts: frozenset[Part]
    null: int | None
    draws: int
    restarts: int
    resamples: int
    seed: int

    def settings(self) -> Mapping[str, Any]:
        """What decides the figures, as JSON data: amounts that no part uses are None."""
        amounts = {
            name: getattr(self, name) if self.parts.intersection(parts) else None
            for name, parts in AMOUNTS.items()
        }
        null = ("cheap" if self.null is None else self.null) if "null" in self.parts else None
        parts = [part for part in PARTS if part in self.parts]
        return {"parts": parts, "null": null, **amounts, "seed": self.seed}


def amount_of(part: Part, settings: Mapping[str, Any]) -> Any:
    """How much was drawn for `part` under `Effort.settings`; None for a part that draws nothing."""
    if part == "null":
        return settings["null"]
    return next((settings[name] for name, parts in AMOUNTS.items() if part in parts), None)


def effort_of(
    scope: Scope,
    *,
    null: int | None = None,
    draws: int | None = None,
    restarts: int | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> Effort:
    """The effort of `scope`, with the parts that an amount is given for; 0 leaves parts out.

    Args:
        scope: what is measured where no amount says more.
        null: as in `Effort`; None takes all that are cheap, 50 at most.
        draws, restarts, resamples: as in `Effort`; None takes the usual amount, and switches
            nothing on.
        seed: as in `Effort`.
    """
    parts = set(BASIC if scope == "basic" else PARTS)
    amounts: tuple[tuple[int | None, tuple[Part, ...]], ...] = (
        (null, ("null",)),
        (draws, OF_DRAWS),
        (restarts, OF_RESTARTS),
        (resamples, OF_RESAMPLES),
    )
    for amount, theirs in amounts:
        if amount is not None:
            parts = parts.union(theirs) if amount else parts.difference(theirs)
    return Effort(
        parts=frozenset(parts),
        null=null,
        draws=DRAWS if draws is None else draws,
        restarts=RESTARTS if restarts is None else restarts,
        resamples=RESAMPLES if resamples is None else resamples,
        seed=seed,
    )
