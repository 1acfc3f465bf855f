"""Searches side by side as a Markdown table: one row a behaviour, one column a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.specs import METHODS

if TYPE_CHECKING:
    from acdc_pipeline.workflows.compare import Compared

NOT_THERE = "–"


def comparison_table(found: Sequence[Compared]) -> str:
    """`CPR / CMD` of every search; several in one place, as of other seeds, one below the other.

    Searches of one task and model stand in a row, whatever their prompts, ablation and seed: ask
    for one of each where that matters. An en dash where there is no search, or it has no areas.
    """
    methods = [name for name in METHODS if any(one.run.method.name == name for one in found)]
    cells: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in sorted(found, key=lambda one: (one.run.task, one.run.model)):
        row = cells.setdefault((one.run.task, one.run.model.removeprefix("zoo:")), {})
        row.setdefault(one.run.method.name, []).append(_areas(one))
    lines = [_line(["task", "model", *methods]), "|---" * (len(methods) + 2) + "|"]
    for (task, model), row in cells.items():
        areas = ["<br>".join(row.get(name, [NOT_THERE])) for name in methods]
        lines.append(_line([task, model, *areas]))
    return "\n".join(lines)


def _areas(one: Compared) -> str:
    if one.cpr is None or one.cmd is None:
        return NOT_THERE
    return f"{one.cpr:.2f} / {one.cmd:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
