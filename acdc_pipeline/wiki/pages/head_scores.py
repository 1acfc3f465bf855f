"""Bars beside numbers: where they start and end, and the marks of null and line."""

from __future__ import annotations

from markupsafe import Markup

from acdc_pipeline.plotting.scales import ScoreScale


def bar(
    value: float, scale: ScoreScale, null: float | None = None, line: float | None = None
) -> Markup:
    """A bar from zero to `value` on the score's own scale. Made of numbers alone.

    Args:
        value: the score.
        scale: where it begins and ends.
        null: up to here chance goes.
        line: from here on the score gives a role.
    """
    start, end = sorted((scale.zero, scale.position(value)))
    marks = "" if null is None else f";--n:{_percent(scale.position(null))}"
    if line is not None:
        marks += f";--t:{_percent(scale.position(line))}"
    css = "sbar" if scale.low < 0 else "bar"
    # most bars begin at the left
    begin = f"--a:{_percent(start)};" if start else ""
    style = f"{begin}--b:{_percent(end)}{marks}"
    return Markup(f'<i class="{css}" style="{style}"></i>')


def _percent(share: float) -> str:
    """In half percents: finer than anyone sees, and short."""
    return f"{round(200 * share) / 2:g}%"
