"""What can be measured of a circuit, and how much is drawn for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from acdc_pipeline.errors import UnknownName, check_whole
from acdc_pipeline.specs.names import MAX_SEED

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
"""What can be measured beside the circuit's own metrics, in order of execution."""

Scope = Literal["basic", "full"]
"""`basic` takes seconds: few circuits, one forward pass each. `full` is every part."""

PARTS: tuple[Part, ...] = get_args(Part)
BASIC: frozenset[Part] = frozenset(("curve", "null"))

FIELDS: Mapping[Part, tuple[str, ...]] = {
    "curve": ("curve", "cpr", "cmd"),
    "null": ("nulls",),
    "completeness": ("knockouts",),
    "worst knockouts": ("worst",),
    "minimality": ("needs",),
    "causal scrubbing": ("scrubbing", "unscrubbed"),
    "fresh prompts": ("fresh",),
    "stability": ("stability",),
    "transfer": ("transfer",),
}
"""The fields of an `Evaluation` that each part sets."""

NULL: tuple[Part, ...] = ("null",)

OF_SEARCHES: tuple[Part, ...] = ("stability", "transfer")
"""Parts that repeat the search."""

AMOUNTS: Mapping[str, tuple[Part, ...]] = {
    "draws": ("completeness", "minimality", "causal scrubbing"),
    "restarts": ("worst knockouts",),
    "resamples": ("stability", "transfer"),
}
"""The parts that use each amount; the null has its own."""

_SCRUBBING = 2
"""Raised when causal scrubbing draws otherwise: what it measured before is not taken over."""

DEFAULTS: Mapping[str, int] = {"draws": 5, "restarts": 2, "resamples": 5}


@dataclass(frozen=True)
class EvaluationPlan:
    """The parts to measure, and how much to draw.

    Args:
        parts: parts beside the circuit's own metrics.
        null: random circuits of equal size; None for as many as are cheap in the model.
        draws: random sets of nodes for completeness and minimality, and rounds of scrubbing.
        restarts: greedy searches for the nodes without which circuit and model differ most.
        resamples: bootstrap resamples of the prompts on which the search is repeated.
    """

    parts: frozenset[Part]
    null: int | None
    draws: int
    restarts: int
    resamples: int
    seed: int

    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the figures, as JSON data; None for amounts no part uses."""
        amounts = {
            name: getattr(self, name) if self.parts.intersection(parts) else None
            for name, parts in AMOUNTS.items()
        }
        null = ("cheap" if self.null is None else self.null) if "null" in self.parts else None
        parts = [part for part in PARTS if part in self.parts]
        scrubbing = {"scrubbing": _SCRUBBING} if "causal scrubbing" in self.parts else {}
        return {"parts": parts, "null": null, **amounts, **scrubbing, "seed": self.seed}


def amount_of(part: Part, settings: Mapping[str, Any]) -> Any:
    """What `part` was measured with, of `EvaluationPlan.settings`; None for a part without any."""
    if part == "null":
        return settings["null"]
    if part == "causal scrubbing":
        return settings["draws"], settings.get("scrubbing")
    return next((settings[name] for name, parts in AMOUNTS.items() if part in parts), None)


def evaluation_plan(
    scope: str,
    *,
    null: int | None = None,
    draws: int | None = None,
    restarts: int | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> EvaluationPlan:
    """Combine a scope with explicit amounts: a number adds the parts that use it, 0 removes them.

    Args:
        scope: `basic` or `full`.
        draws, restarts, resamples: see `EvaluationPlan`; None takes the default amount and
            leaves the parts as the scope has them.

    Raises:
        UnknownName: there is no such scope.
        InvalidInput: an amount is negative, or the seed is not valid.
    """
    if scope not in get_args(Scope):
        raise UnknownName.among("scope", scope, get_args(Scope), where="evaluate", field="scope")
    check_whole(seed, "seed", 0, MAX_SEED)
    given = {"draws": draws, "restarts": restarts, "resamples": resamples}
    for name, amount in {"null": null, **given}.items():
        if amount is not None:
            check_whole(amount, name, 0)
    parts: frozenset[Part] = BASIC if scope == "basic" else frozenset(PARTS)
    if null is not None:
        parts = parts.union(NULL) if null else parts.difference(NULL)
    for name, users in AMOUNTS.items():
        if (amount := given[name]) is not None:
            parts = parts.union(users) if amount else parts.difference(users)
    amounts = {name: DEFAULTS[name] if n is None else n for name, n in given.items()}
    return EvaluationPlan(parts=parts, null=null, **amounts, seed=seed)
