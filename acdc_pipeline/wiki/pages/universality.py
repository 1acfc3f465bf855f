"""Whether every model has a head of a kind: the answer of each kind, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acdc_pipeline.specs.head_scores import ROLES, RoleDefinition
from acdc_pipeline.wiki.families.universality import (
    DEPTHS,
    Universality,
    shares_by_depth,
    universality,
)
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.page import Data, SinglePage, frame
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import format_fixed, pluralize

_MAX_NAMED = 8


class UniversalityPage(SinglePage):
    """The table of all kinds: in how many models, in how many unrelated ones, and how deep."""

    template = "universality.html"
    path = "k/universality.html"
    scope = "scores"

    def data(self, _: None) -> Data:
        site = self.site
        depths = shares_by_depth(ROLES, site.models)
        return {
            **frame(1, "In every model?", ("Kinds", "k/index.html"), ("In every model?", None)),
            "rows": [
                {
                    "role": role,
                    "depths": _depth_cells(depths[role.name]),
                    **universal_data(site, role),
                }
                for role in ROLES.values()
            ],
            "parts": [f"{100 * n // DEPTHS}–{100 * (n + 1) // DEPTHS}" for n in range(DEPTHS)],
        }


def universal_data(site: Site, role: RoleDefinition) -> Data:
    """Return what pages say of how common a kind is."""
    found = universality(role, site.models, site.families)
    return {
        "found": found,
        "answer": _answer(found),
        "interval": _interval(found.interval),
        "group_interval": _interval(found.group_interval),
        "bar": found.interval,
        "lacking": _named(found.lacking),
        "unmeasured": _named(found.unmeasured),
    }


def _answer(found: Universality) -> str:
    """Return `in 9 of 10 models (95 % interval 0.60–0.98), and in 6 of 6 unrelated groups`."""
    if not found.measured:
        return "No model has scores that can show it."
    having = len(found.having)
    space = "\N{NARROW NO-BREAK SPACE}"
    word = "Yes: in" if not found.lacking else "No: in" if having else "In none: "
    text = (
        f"{word} {having} of {pluralize(found.measured, 'model')} whose scores can show it "
        f"(95{space}% interval {_interval(found.interval)})"
    )
    if found.groups < found.measured:
        text += (
            f"; of {pluralize(found.groups, 'group')} of unrelated models, in "
            f"{found.groups_having} ({_interval(found.group_interval)})"
        )
    return f"{text}."


def _interval(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else "–".join(map(format_fixed, interval))


def _named(models: Sequence[Model]) -> Data:
    return {"shown": models[:_MAX_NAMED], "more": max(0, len(models) - _MAX_NAMED)}


def _depth_cells(shares: np.ndarray) -> list[float | None]:
    return [None if np.isnan(share) else float(share) for share in shares]
