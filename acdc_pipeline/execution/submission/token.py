"""The token that a protected cluster asks for, read where Ray reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acdc_pipeline.errors import InvalidInput

PLACES = "RAY_AUTH_TOKEN, else the file RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token"

_SENDABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Token:
    """What opens a cluster. Its value is in no message.

    Args:
        value: the token.
        source: where it was found.
    """

    value: str = field(repr=False)
    source: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self.value}"}


def find_token(environment: Mapping[str, str], home: Path) -> Token | None:
    """The token of whoever runs this, None where there is none. The order is Ray's.

    Raises:
        InvalidInput: a place is named, and no token is there.
    """
    if value := environment.get("RAY_AUTH_TOKEN", "").strip():
        return _checked(value, "RAY_AUTH_TOKEN")
    if named := environment.get("RAY_AUTH_TOKEN_PATH", ""):
        return _read(Path(named), "RAY_AUTH_TOKEN_PATH")
    usual = home / ".ray" / "auth_token"
    return _read(usual, None) if usual.exists() else None


def _read(path: Path, variable: str | None) -> Token:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is not text"
        raise InvalidInput(
            f"the token cannot be read: {reason}", where=str(path), field=variable
        ) from error
    if not value:
        raise InvalidInput("holds no token", where=str(path), field=variable, allowed=PLACES)
    return _checked(value, str(path))


def _checked(value: str, source: str) -> Token:
    if not _SENDABLE.fullmatch(value):
        raise InvalidInput(
            "the token holds blanks or characters that no request can carry",
            where=source,
            fix="copy it again, in one line",
        )
    return Token(value, source)
