"""What heads do on ordinary text, in a few lines: the wiki has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_line, print_note
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.views.heads import merged_roles
from acdc_pipeline.text import format_percent, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.store import RunRecord

MOST_HEADS = 12

COLUMNS = (
    Column("head"),
    Column("on the first token", "number"),
    Column("by its roles", "number"),
    Column("roles", "prose"),
)


def print_text_profile(record: RunRecord, profiles: Sequence[RunRecord]) -> None:
    """Print where the heads look on the text whose roles explain most of it.

    Args:
        profiles: the profiles of the same model, which have the roles.
    """
    from acdc_pipeline.specs.methods.text import kinds_of_roles

    found = record.text or {}
    kinds, heads = found["kinds"], found["heads"]
    for warning in record.details.get("warnings", ()):
        print_note(f"note: {warning}")
    mean = sum(one["attention"][0] for one in heads.values()) / len(heads)
    contexts = pluralize(len(found["contexts"]), "context")
    print_line("")
    print_line(
        f"on {record.spec.task}: {pluralize(found['tokens'], 'token')} in {contexts} of at most "
        f"{found['width']}; {format_percent(mean)} of all attention rests on the first token"
    )
    roles: dict[str, list[str]] = {}
    for role in merged_roles(profiles):
        roles.setdefault(role["head"], []).append(role["role"])
    rows: list[tuple[float, dict[str, Any]]] = []
    for name, one in heads.items():
        # what rests on the first token has a column of its own
        about = [kind for kind in kinds_of_roles(roles.get(name, ())) if kind != "first"]
        if about:
            share = sum(one["attention"][kinds.index(kind)] for kind in about)
            row = {
                "head": name,
                "on the first token": format_percent(one["attention"][0]),
                "by its roles": format_percent(share),
                "roles": ", ".join(about),
            }
            rows.append((share, row))
    rows.sort(key=lambda row: -row[0])
    if rows:
        print_table(COLUMNS, [row for _, row in rows[:MOST_HEADS]])
    if len(rows) > MOST_HEADS:
        more = pluralize(len(rows) - MOST_HEADS, "more head")
        print_note(f"({more} with a role that says where it looks: --json, or the wiki)")
