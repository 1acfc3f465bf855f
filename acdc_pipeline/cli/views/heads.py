"""What heads behave as: a table of the heads that have a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import PROSE, note
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.words import counted, number

if TYPE_CHECKING:
    from acdc_pipeline.heads.near_misses import NearMiss
    from acdc_pipeline.store import RunRecord

COLUMNS = (
    Column("head"),
    Column("behaves as", "prose"),
    Column("on", "name", rank=1),
    Column("score", rank=3),
    Column("value", "number"),
    Column("rank", rank=1),
    Column("evidence", rank=2),
)

MOST_ROWS = 60
"""Roles that are shown; the rest is in the store."""

MOST_NEAR = 12
"""Near misses that are shown, the nearest ones."""


def print_heads(records: Sequence[RunRecord]) -> None:
    """Prints the roles of all heads, those of several tasks together."""
    roles = merged_roles(records)
    total = len({(row.layer, row.head) for row in records[0].heads})
    if not roles:
        note("No score of any head crosses its line and exceeds its null.", off_terminal=PROSE)
        _print_near_misses(records)
        return
    print_table(COLUMNS, _rows(roles[:MOST_ROWS]))
    without = total - len({role["head"] for role in roles})
    told = [f"{counted(without, 'head')} without a role"] if without else []
    if len(roles) > MOST_ROWS:
        told.append(f"{len(roles) - MOST_ROWS} more roles: --json")
    if told:
        note(f"({'; '.join(told)})", off_terminal=PROSE)
    _print_near_misses(records)


def _print_near_misses(records: Sequence[RunRecord]) -> None:
    """Prints what comes nearest to a role, of heads that have none in any of `records`."""
    misses = merged_near_misses(records)
    for miss in misses[:MOST_NEAR]:
        where = "" if miss.on is None else f" on {miss.on}"
        note(f"{miss.node}{where}: {miss.describe()} ({miss.reason})", off_terminal=PROSE)
    if len(misses) > MOST_NEAR:
        note(f"({len(misses) - MOST_NEAR} more near misses: --json)", off_terminal=PROSE)


def merged_near_misses(records: Sequence[RunRecord]) -> list[NearMiss]:
    """The near misses of heads without a role in several profiles, each once, nearest first."""
    from acdc_pipeline.heads.near_misses import NearMiss

    with_role = {role["head"] for role in merged_roles(records)}
    found: dict[tuple[str, str, str | None], NearMiss] = {}
    for record in records:
        for plain in (record.profile or {}).get("near_misses", ()):
            if plain["head"] not in with_role:
                key = (plain["head"], plain["role"], plain["on"])
                found.setdefault(key, NearMiss.from_plain(plain))
    return sorted(found.values(), key=lambda miss: -miss.nearness)


def merged_roles(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The roles in several profiles of one model, each once, in the order of heads."""
    from acdc_pipeline.graph import Node
    from acdc_pipeline.specs.head_scores import ROLES

    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for record in records:
        for role in (record.profile or {}).get("roles", ()):
            found.setdefault((role["head"], role["role"], role["on"]), role)
    order = {name: place for place, name in enumerate(ROLES)}

    def place(role: dict[str, Any]) -> tuple[int, int, int]:
        node = Node.parse(role["head"])
        return node.layer or 0, node.head or 0, order.get(role["role"], len(order))

    return sorted(found.values(), key=place)


def _rows(roles: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    from acdc_pipeline.specs.head_scores import ROLES

    rows = []
    last = None
    for role in roles:
        definition = ROLES[role["role"]]
        rows.append(
            {
                "head": role["head"] if role["head"] != last else "",
                "behaves as": definition.title,
                "on": role["on"] or {"tokens": "random tokens"}.get(definition.on, "its weights"),
                "score": role["metric"].partition("@")[0],
                "value": _value(role["value"]),
                "rank": f"{role['rank']} of {role['of']}",
                "evidence": _evidence(role),
            }
        )
        last = role["head"]
    return rows


def _evidence(role: Mapping[str, Any]) -> str:
    """What kinds there are, and whether it is the other heads of the model that tell."""
    kinds = ", ".join(role["evidence"])
    line = role.get("below_line")
    return kinds if line is None else f"{kinds}; below {line:.2f}, stands out"


def _value(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else number(value)
