"""Numbers as pages write them: three digits, a real minus sign, an en dash where there is none."""

from __future__ import annotations

import math

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """`0.931`, `−1.2`, `12,300`; never `-0`."""
    if value is None or math.isnan(value):
        return NONE
    if value and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.{digits - 1}e}".replace("-", "−").replace("e+0", "e").replace("e−0", "e−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{min(decimals, 4)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "0") else text.replace("-", "−")


def aligned(value: float | None) -> str:
    """`0.500`, `12.0`, `1`: a number for a column, where points should stand below one another.

    Three digits, but never more than four behind the point; only a whole number has none there.
    """
    if value is None or math.isnan(value):
        return NONE
    size = abs(value)
    if size < 1e-4:
        return "≈0" if size else "0"
    if size >= 100 or size == int(size):
        text = f"{value:,.0f}"
    elif size >= 1:
        text = f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    else:
        text = f"{value:.3f}" if size >= 0.1 else f"{value:.4f}"
    return f"−{text[1:]}" if value < 0 else text


def brief(value: float) -> str:
    """`0.90`, `12`, `0.0012`: two digits, for the ends of an interval."""
    if math.isnan(value):
        return NONE
    size = abs(value)
    if size < 1e-4:
        return "≈0" if size else "0"
    if size >= 10 or size == int(size):
        text = f"{value:,.0f}"
    elif size >= 0.1:
        text = f"{value:.1f}" if size >= 1 else f"{value:.2f}"
    else:
        text = f"{value:.3f}" if size >= 0.01 else f"{value:.4f}"
    return f"−{text[1:]}" if value < 0 else text


def fixed(value: float | None, decimals: int = 2) -> str:
    """A number with `decimals` digits after the point, for columns."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def percent(share: float | None) -> str:
    """`3.2 %`: one digit after the point below 10 %, none from there on."""
    if share is None or math.isnan(share):
        return NONE
    value = 100 * share
    text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
    return f"{text.replace('-', '−')}\N{NARROW NO-BREAK SPACE}%"


def ordinal(place: int) -> str:
    """`1st`, `2nd`, `13th`."""
    if 10 <= place % 100 <= 20:
        return f"{place}th"
    return f"{place}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(place % 10, 'th') }"


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 head`, `1,024 heads`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def short(value: float) -> str:
    """`500`, `2k`, `85M`, `1.5B`: two digits."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{number(value / size, 2)}{unit}"
    return number(value, 2)
