"""The roles of attention heads as a table, and the nearest misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import PROSE_WIDTH, print_note
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_number, pluralize

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

MAX_ROLES = 60
MAX_NEAR_MISSES = 12


def print_heads(records: Sequence[RunRecord]) -> None:
    """Print the roles of all heads, those on several tasks together, and the near misses."""
    roles = merged_roles(records)
    total = len({(row.layer, row.head) for row in records[0].heads})
    if not roles:
        _note("no head has a score above both its threshold and its null")
    else:
        print_table(COLUMNS, _rows(roles[:MAX_ROLES]))
        without = total - len({role["head"] for role in roles})
        rest = [f"{pluralize(without, 'head')} without a role"] if without else []
        if len(roles) > MAX_ROLES:
            rest.append(f"{len(roles) - MAX_ROLES} more roles: --json")
        if rest:
            _note(f"({'; '.join(rest)})")
    misses = merged_near_misses(records)
    for miss in misses[:MAX_NEAR_MISSES]:
        where = "" if miss.on is None else f" on {miss.on}"
        _note(f"{miss.node}{where}: {miss.describe()} ({miss.reason})")
    if len(misses) > MAX_NEAR_MISSES:
        _note(f"({len(misses) - MAX_NEAR_MISSES} more near misses: --json)")


def _note(text: str) -> None:
    print_note(text, width=PROSE_WIDTH)


def merged_near_misses(records: Sequence[RunRecord]) -> list[NearMiss]:
    """Merge the near misses of heads without a role from several profiles, nearest first."""
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
    """Merge the roles from several profiles of one model, in the order of heads."""
    from acdc_pipeline.graph import Node
    from acdc_pipeline.specs.head_scores import ROLES

    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for record in records:
        for role in (record.profile or {}).get("roles", ()):
            found.setdefault((role["head"], role["role"], role["on"]), role)
    order = {name: index for index, name in enumerate(ROLES)}

    def position(role: dict[str, Any]) -> tuple[int, int, int]:
        node = Node.parse(role["head"])
        return node.layer or 0, node.head or 0, order.get(role["role"], len(order))

    return sorted(found.values(), key=position)


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
    """Return the kinds of evidence; below the threshold, the head exceeds the model's others."""
    kinds = ", ".join(role["evidence"])
    threshold = role.get("below_line")
    return kinds if threshold is None else f"{kinds}; below {threshold:.2f}, stands out"


def _value(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else format_number(value)
