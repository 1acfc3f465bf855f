"""Numbers on the command line, whose errors name the option and the value.

Typer passes defaults through the reader too, and those are numbers already.
"""

from __future__ import annotations

from collections.abc import Callable

from acdc_pipeline.errors import InvalidInput


def whole(option: str, least: int) -> Callable[[str | int], int]:
    """Reads whole numbers of at least `least`. What it returns raises InvalidInput."""

    def read(text: str | int) -> int:
        try:
            value = int(text)
        except ValueError:
            raise InvalidInput(f"'{text}' is not a whole number", field=option) from None
        if value < least:
            raise InvalidInput(f"{value} is too small", field=option, allowed=f"at least {least}")
        return value

    return read


def decimal(option: str) -> Callable[[str | float], float]:
    """Reads numbers. What it returns raises InvalidInput."""

    def read(text: str | float) -> float:
        try:
            return float(text)
        except ValueError:
            raise InvalidInput(f"'{text}' is not a number", field=option) from None

    return read
