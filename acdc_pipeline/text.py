"""Text for people: counts, numbers and shares, in one form in every command and figure."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "–"
"""Shown where there is no value."""

KL_ROUNDING = 1e-6
"""How far rounding may take a KL divergence below 0; what is further below is shown as it is."""


def pluralize(count: int, noun: str) -> str:
    """`1 prompt`, `64 prompts`, `2 searches`."""
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count} {noun}" + ("" if count == 1 else ending)


def list_first(names: Sequence[str], limit: int) -> str:
    """`a, b and 3 more`: the first `limit` names, and how many there are besides."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number for a table, as in `0.960` or `20.0`.

    Trailing zeros stay, so that numbers in a column have equally many digits. 0 is `0`.
    """
    if value is None:
        return NONE
    return f"{value:#.{digits}g}".rstrip(".") if value else "0"


def format_estimate(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a number with its interval, as in `0.960 (0.942 to 0.971)`; without, the number."""
    if value is None or interval is None:
        return format_number(value)
    low, high = map(format_number, interval)
    return f"{format_number(value)} ({low} to {high})"


def without_rounding(divergence: float | None) -> float | None:
    """Return a KL divergence for display: 0 where rounding made it less, which none can be."""
    small = divergence is not None and -KL_ROUNDING < divergence < 0
    return 0.0 if small else divergence


def format_percent(value: float | None) -> str:
    """Format a share for a table, as in `3.2%`; never `-0.0%`."""
    if value is None:
        return NONE
    text = f"{value:.1%}"
    return "0.0%" if text == "-0.0%" else text
