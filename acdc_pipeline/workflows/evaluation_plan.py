"""What can be measured of a circuit, and how much is drawn for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from acdc_pipeline.errors import InvalidInput, UnknownName, check_whole
from acdc_pipeline.specs.names import COMPARED, MAX_SEED, ComparedAblation

Part = Literal[
    "curve",
    "null",
    "ablations",
    "completeness",
    "worst knockouts",
    "minimality",
    "causal scrubbing",
    "fresh prompts",
    "stability",
    "transfer",
]
"""What can be measured beside the circuit's own metrics, in order of execution."""

CHEAP: tuple[ComparedAblation, ...] = ("corrupted", "zero", "mean")
"""Ablations of one circuit each."""

Scope = Literal["basic", "full"]
"""`basic` takes seconds: few circuits, one forward pass each. `full` is every part."""

PARTS: tuple[Part, ...] = get_args(Part)
BASIC: frozenset[Part] = frozenset(("curve", "null", "ablations"))

FIELDS: Mapping[Part, tuple[str, ...]] = {
    "curve": ("curve", "cmd", "cpr", "cmd_interval", "cpr_interval"),
    "null": ("nulls",),
    "ablations": ("ablations", "not_exchanged"),
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

_CURVE = 2
"""Raised when a curve says more: what was measured before is not taken over."""

_SCRUBBING = 2
"""Raised when causal scrubbing draws otherwise: what it measured before is not taken over."""

DEFAULTS: Mapping[str, int] = {"draws": 5, "restarts": 2, "resamples": 5}

MAX_DRAWN = 100_000
"""The largest of any amount: a percentile of so many random circuits is within 0.3 points."""

FORWARDS = 100
"""Circuits that the adversarial search tries, where their number is not given."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The parts to measure, and how much to draw.

    Args:
        parts: parts beside the circuit's own metrics.
        null: random circuits of equal size; None for as many as are cheap in the model.
        draws: random sets of nodes for completeness and minimality, and rounds of scrubbing.
        restarts: greedy searches for the nodes without which circuit and model differ most.
        resamples: bootstrap resamples of the prompts on which the search is repeated.
        ablations: those under which the circuit is measured, in the order of `COMPARED`.
        forwards: the most circuits that the search for the worst donors tries.
    """

    parts: frozenset[Part]
    null: int | None
    draws: int
    restarts: int
    resamples: int
    seed: int
    ablations: tuple[ComparedAblation, ...] = CHEAP
    forwards: int = FORWARDS

    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the figures, as JSON data; None for amounts no part uses."""
        amounts = {
            name: getattr(self, name) if self.parts.intersection(parts) else None
            for name, parts in AMOUNTS.items()
        }
        null = ("cheap" if self.null is None else self.null) if "null" in self.parts else None
        parts = [part for part in PARTS if part in self.parts]
        versions: dict[str, Any] = {
            name: version
            for name, part, version in (
                ("curve", "curve", _CURVE),
                ("scrubbing", "causal scrubbing", _SCRUBBING),
            )
            if part in self.parts
        }
        if "ablations" in self.parts:
            versions["ablations"] = list(self.ablations)
            if "adversarial" in self.ablations:
                versions["forwards"] = self.forwards
        return {"parts": parts, "null": null, **amounts, **versions, "seed": self.seed}


def amount_of(part: Part, settings: Mapping[str, Any]) -> Any:
    """What `part` was measured with, of `EvaluationPlan.settings`; None for a part without any."""
    if part == "null":
        return settings["null"]
    if part == "curve":
        return settings.get("curve")
    if part == "ablations":
        return settings.get("ablations"), settings.get("forwards")
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
    ablations: Iterable[str] | None = None,
    forwards: int | None = None,
    seed: int = 0,
) -> EvaluationPlan:
    """Combine a scope with explicit amounts: a number adds the parts that use it, 0 removes them.

    Args:
        scope: `basic` or `full`.
        draws, restarts, resamples: see `EvaluationPlan`; None takes the default amount and
            leaves the parts as the scope has them.
        ablations: see `ablations_named`; None for all with `full`, else those that are cheap.
        forwards: see `EvaluationPlan`; None for `FORWARDS`. A number adds `adversarial` to the
            ablations, whatever `ablations` names; 0 removes it.

    Raises:
        UnknownName: there is no such scope or ablation.
        InvalidInput: an amount is negative or above `MAX_DRAWN`, or the seed is not valid.
    """
    if scope not in get_args(Scope):
        raise UnknownName.among("scope", scope, get_args(Scope), where="evaluate", field="scope")
    check_whole(seed, "seed", 0, MAX_SEED)
    given = {"draws": draws, "restarts": restarts, "resamples": resamples}
    chosen: tuple[ComparedAblation, ...] = COMPARED if scope == "full" else CHEAP
    if ablations is not None:
        chosen = ablations_named(ablations)
    for name, amount in {"null": null, "adversarial": forwards, **given}.items():
        if amount is not None:
            check_whole(amount, name, 0, MAX_DRAWN)
    if forwards is not None:
        wanted = {*chosen, "adversarial"} if forwards else {*chosen} - {"adversarial"}
        chosen = tuple(name for name in COMPARED if name in wanted)
    parts: frozenset[Part] = BASIC if scope == "basic" else frozenset(PARTS)
    if null is not None:
        parts = parts.union(NULL) if null else parts.difference(NULL)
    for name, users in AMOUNTS.items():
        if (amount := given[name]) is not None:
            parts = parts.union(users) if amount else parts.difference(users)
    if not chosen:
        parts = parts.difference(("ablations",))
    amounts = {name: DEFAULTS[name] if n is None else n for name, n in given.items()}
    return EvaluationPlan(
        parts=parts,
        null=null,
        **amounts,
        seed=seed,
        ablations=chosen,
        forwards=forwards or FORWARDS,
    )


def ablations_named(names: Iterable[str]) -> tuple[ComparedAblation, ...]:
    """Return the ablations of some names, in the order of `COMPARED`; `all` and `none` alone.

    Raises:
        UnknownName: there is no such ablation.
        InvalidInput: a name is empty, or `all` or `none` is not alone.
    """
    wanted = list(names)
    if wanted in (["all"], ["none"]):
        return COMPARED if wanted == ["all"] else ()
    for name in wanted:
        if name in COMPARED:
            continue
        if name in ("", "all", "none"):
            problem = f"'{name}' stands alone" if name else "has an empty name"
            raise InvalidInput(
                f"{problem}: '{','.join(wanted)}'",
                where="evaluate",
                field="ablations",
                allowed=f"{', '.join(COMPARED)}, separated by commas; or all, or none",
            )
        known = (*COMPARED, "all", "none")
        raise UnknownName.among("ablation", name, known, where="evaluate", field="ablations")
    return tuple(name for name in COMPARED if name in wanted)
