"""Numbers on the command line, whose errors name the option and the value.

Typer passes defaults through the reader too, and those are numbers already.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from acdc_pipeline.errors import InvalidInput

MOST_PROMPTS = 1_000_000
"""What specifications of runs allow too; said here before anything is loaded."""

MOST_THREADS = 512
"""Of torch: with thousands it does not start, or ends in C++."""

MOST_SEED = 2**53 - 1
"""What specifications of runs allow too: torch takes no larger ones, nor do all readers of JSON."""

_WHOLE = re.compile(r"[+-]?[0-9]+")


def whole(option: str, least: int, most: int | None = None) -> Callable[[str | int], int]:
    """Reads whole numbers from `least` to `most`. What it returns raises InvalidInput."""

    def read(text: str | int) -> int:
        try:
            # int() takes 1_0 for 10, and refuses thousands of digits
            value = int(text) if _WHOLE.fullmatch(str(text)) else None
        except ValueError:
            value = None
        if value is None:
            raise InvalidInput(f"'{_cut(text)}' is not a whole number", field=option)
        if value < least:
            raise InvalidInput(f"{value} is too small", field=option, allowed=f"at least {least}")
        if most is not None and value > most:
            raise InvalidInput(
                f"{_cut(value)} is too large", field=option, allowed=f"at most {most}"
            )
        return value

    return read


def decimal(option: str) -> Callable[[str | float], float]:
    """Reads numbers. What it returns raises InvalidInput."""

    def read(text: str | float) -> float:
        try:
            # float() takes 1_0 for 10, and digits of other scripts
            return float(text if "_" not in str(text) and str(text).isascii() else "")
        except ValueError:
            raise InvalidInput(f"'{_cut(text)}' is not a number", field=option) from None

    return read


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
