"""What the page of a family shows: kinds and heads, member by member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from acdc_pipeline.heads.habits import lead_role
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.families.find import Family
from acdc_pipeline.wiki.families.matching import match_heads
from acdc_pipeline.wiki.families.sketches import cosines
from acdc_pipeline.wiki.families.universality import is_measured
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name

Data = dict[str, Any]

COMMON = frozenset(("sink", "current_token"))
"""Roles of so many heads that they do not tell a head from others."""

_MAX_ROWS = 40
_PER_KIND = 3


def kind_rows(family: Family) -> list[Data]:
    """Return for every role that any member has: the number of its heads in each, and the first.

    None where the role was not looked for.
    """
    rows = []
    for role in ROLES.values():
        counts: list[int | None] = [
            _count(model, role.name) if is_measured(role, model) else None
            for model in family.members
        ]
        having = [place for place, count in enumerate(counts) if count]
        if having:
            first = family.labels[having[0]] if family.kind == "checkpoints" else None
            rows.append({"role": role, "counts": counts, "first": first})
    return rows


def _count(model: Model, role: str) -> int:
    return sum(any(held.role == role for held in every) for every in model.roles.values())


def traced_heads(family: Family) -> tuple[list[Data], int]:
    """Return the heads with a telling role in any member, traced by their names, and how many more.

    Of each: its most telling role, and for each member the deciding score, whether it has the role,
    and the cosine of its W_OV with that of the last checkpoint, or of the base.
    """
    held: dict[HeadIndex, list[HeadRole]] = {}
    for model in family.members:
        for place, roles in model.roles.items():
            held.setdefault(place, []).extend(r for r in roles if r.role not in COMMON)
    leading = {place: lead_role(roles) for place, roles in held.items() if roles}
    order = list(ROLES)
    ranked = sorted(leading.items(), key=lambda x: (order.index(x[1].role), -abs(x[1].value), x[0]))
    anchor = family.members[-1 if family.kind == "checkpoints" else 0]
    likeness = [cosines(model.sketches, anchor.sketches, "ov") for model in family.members]
    rows = []
    for place, role in ranked[:_MAX_ROWS]:
        cells = []
        for model, cosine in zip(family.members, likeness, strict=True):
            score = model.scores.get(role.metric)
            cells.append(
                {
                    "slug": model.slug,
                    "value": None if score is None else float(score.values[place]),
                    "has": any(
                        (r.role, r.on) == (role.role, role.on) for r in model.roles.get(place, ())
                    ),
                    "weights": None
                    if cosine is None or model is anchor or place[0] >= len(cosine)
                    else float(cosine[place]),
                }
            )
        rows.append(
            {"name": head_name(*place), "role": ROLES[role.role], "on": role.on, "cells": cells}
        )
    return rows, max(0, len(ranked) - _MAX_ROWS)


def matched_heads(family: Family) -> tuple[list[Data], tuple[int, int]]:
    """Return the leading heads of the first member, each with its match in every other.

    And how many of these matches have a telling role in common with the head, of how many.
    """
    first, *others = family.members
    leaders = list(_leaders(first))
    matches = [
        match_heads(first, leaders, other, [p for p in other.places if _telling(other, p)])
        for other in others
    ]
    rows, same, total = [], 0, 0
    for place in leaders:
        own, cells = _telling(first, place), []
        for other, found in zip(others, matches, strict=True):
            if place not in found:
                cells.append(None)
                continue
            match, similarity = found[place]
            theirs = _telling(other, match)
            shared = own & theirs
            total, same = total + 1, same + bool(shared)
            cells.append(
                {
                    "slug": other.slug,
                    "name": head_name(*match),
                    "similarity": similarity,
                    "same": bool(shared),
                    "roles": _names(shared or theirs),
                }
            )
        rows.append({"name": head_name(*place), "roles": _names(own), "cells": cells})
    return rows, (same, total)


def _leaders(model: Model) -> Iterator[HeadIndex]:
    """Yield the three heads with the highest value of each telling role, layer by layer."""
    best: set[HeadIndex] = set()
    for name in ROLES:
        if name in COMMON:
            continue
        having = {
            place: max(abs(held.value) for held in every if held.role == name)
            for place, every in model.roles.items()
            if any(held.role == name for held in every)
        }
        best |= set(sorted(having, key=lambda place: (-having[place], place))[:_PER_KIND])
    yield from sorted(best)


def _telling(model: Model, place: HeadIndex) -> frozenset[str]:
    return frozenset(r.role for r in model.roles.get(place, ()) if r.role not in COMMON)


def _names(roles: frozenset[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in ROLES if name in roles)


def traced_scores(family: Family) -> Iterator[tuple[str, str | None, str, list[np.ndarray | None]]]:
    """Yield role, task, deciding metric and the scores of every member, for roles of any member."""
    seen: dict[tuple[str, str | None], str] = {}
    for model in family.members:
        for every in model.roles.values():
            for held in every:
                seen.setdefault((held.role, held.on), held.metric)
    order = list(ROLES)
    for role, on in sorted(seen, key=lambda x: (x[0] in COMMON, order.index(x[0]), x[1] or "")):
        metric = seen[role, on]
        grids = [model.scores.get(metric) for model in family.members]
        yield role, on, metric, [None if score is None else score.values for score in grids]


def strongest(
    family: Family, role: str, on: str | None, grids: Sequence[np.ndarray | None], count: int
) -> list[HeadIndex]:
    """Return the heads that have a role in any member, those with the highest values first."""
    having = {
        place
        for model in family.members
        for place, every in model.roles.items()
        if any((held.role, held.on) == (role, on) for held in every)
    }
    known = [np.abs(np.nan_to_num(grid)) for grid in grids if grid is not None]
    top = np.max(known, axis=0)
    return sorted(having, key=lambda place: (-float(top[place]), place))[:count]
