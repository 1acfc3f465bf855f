"""Attention heads: a score of all as a mosaic, their roles as a table, near misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal import output
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import wrap
from acdc_pipeline.text import format_number, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.heads.near_misses import NearMiss
    from acdc_pipeline.plotting.heatmap import TextMosaic
    from acdc_pipeline.plotting.scales import ScoreScale
    from acdc_pipeline.specs.head_scores import ScoreDefinition
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
MAX_NEAR_MISSES = 4

_POSITIVE, _NEGATIVE = "dark_orange", "deep_sky_blue1"
"""A pair of colours that colour-blind readers can tell apart."""


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
        more = len(misses) - MAX_NEAR_MISSES
        noun = "miss" if more == 1 else "misses"
        _note(f"({more} more near {noun}: --json, or the pages of the heads in the wiki)")


def _note(text: str) -> None:
    output.print_note(text, width=output.PROSE_WIDTH)


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
    from acdc_pipeline.heads.roles import HeadRole
    from acdc_pipeline.specs.head_scores import ROLES

    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for record in records:
        for stored in (record.profile or {}).get("roles", ()):
            role = HeadRole.from_plain(stored).plain()
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


def print_mosaic(records: Sequence[RunRecord], score: str) -> None:
    """Print the mosaic of `score`, one for each task if it is measured on tasks."""
    from acdc_pipeline.plotting.heatmap import TextMosaic
    from acdc_pipeline.specs.head_scores import SCORES, metric_key

    definition = SCORES[score]
    for index, record in enumerate(records if definition.per == "task" else records[:1]):
        if index:
            output.print_line("")
        task = record.spec.task if definition.per == "task" else None
        metric = metric_key(score, task)
        rows = [row for row in record.heads if row.metric == metric]
        title = definition.title if task is None else f"{definition.title} on {task}"
        if not rows:
            _note(f"{title}: no head of this model has this score")
            continue
        values = {(row.layer, row.head): row.value for row in rows}
        claim = f"{title}: {definition.claim[:1].lower()}{definition.claim[1:]}"
        output.print_line(wrap(claim, output.terminal_width()))
        layers, heads = record.details["n_layers"], record.details["n_heads"]
        _print_mosaic(TextMosaic(values, layers, heads, _scale(definition, values)))


def _print_mosaic(mosaic: TextMosaic) -> None:
    from rich.text import Text

    table = mosaic.table(output.terminal_width() or output.PROSE_WIDTH)
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = Text()
    for head, row in enumerate(table, start=-1):
        lines.append(row[0].ljust(widths[0]), style="bold")
        for layer, (cell, width) in enumerate(zip(row[1:], widths[1:], strict=True)):
            style = "bold" if head < 0 else _style(mosaic, layer, head)
            lines.append("  " if width > 2 else " ")
            lines.append(cell.ljust(width), style=style)
        lines.append("\n")
    lines.rstrip()
    output.print_renderable(lines, width=sum(widths) + 2 * len(widths))
    negative = any(value < 0 for value in mosaic.values.values())
    high = mosaic.scale.high
    legend = f"█ is {high:.3g}" + (f", ≣ is -{high:.3g}" if negative else "")
    output.print_line(f"(columns are layers; {legend})")


def _style(mosaic: TextMosaic, layer: int, head: int) -> str:
    value = mosaic.values.get((layer, head))
    if not value or mosaic.scale.kind == "share":
        return ""
    return _POSITIVE if value > 0 else _NEGATIVE


def _scale(definition: ScoreDefinition, values: Mapping[tuple[int, int], float]) -> ScoreScale:
    """Return a scale up to 1 for shares, up to the largest value for other scores."""
    from acdc_pipeline.plotting.scales import ScoreScale

    high = 1.0 if definition.high == 1.0 else max(abs(value) for value in values.values())
    return ScoreScale(0.0 if definition.low == 0 else -high, high)
