"""The base of every specification: frozen, validated data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from acdc_pipeline.errors import unknown


class Spec(BaseModel):
    """Frozen, rejects unknown keys, no NaN or infinity.

    Read files with `acdc_pipeline.specs.load_yaml`, which names file and field in its errors.

    Attributes:
        NOT_HERE: keys that are refused for a reason, with what to do instead.
    """

    NOT_HERE: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read_files(cls, data: Any, folder: Path) -> Any:  # noqa: ARG003  (for subclasses)
        """`data` with the contents of the files in `folder` that it names, before validation.

        The contents become part of the spec, so that hashing the spec hashes them too.
        """
        return data

    def plain(self) -> dict[str, Any]:
        """The spec as JSON-ready data."""
        return self.model_dump(mode="json")

    @classmethod
    def from_plain(cls, data: Any) -> Self:
        """The spec whose `plain` is `data`."""
        return cls.model_validate_json(json.dumps(data), strict=True)


def as_tuple(value: Any) -> Any:
    """Turn a list into a tuple, for validators that accept lists from Python as well."""
    return tuple(value) if isinstance(value, list) else value


def tag_of(kind: type[BaseModel]) -> str:
    """The discriminator (`kind` or `name`) of specs of this `kind` in unions, or ""."""
    for name in ("kind", "name"):
        field = kind.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)[0]
    return ""


CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
"""Encodes canonical JSON: sorted keys, no spaces, no NaN, no ASCII escapes."""


def canonical_json(data: Any) -> str:
    """The canonical JSON text of `data`, see `CANONICAL`."""
    return CANONICAL.encode(data)


def read_json(text: str | bytes) -> Any:
    """The data in JSON that somebody else wrote.

    Raises:
        ValueError: it is not JSON, not UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply to be read") from None


def read_json_once(text: str | bytes) -> Any:
    """The data in JSON in which no object has a key twice, of which `read_json` takes the last.

    Raises:
        ValueError: as `read_json`, or a key occurs twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key '{key}' occurs twice in one object")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("is nested too deeply to be read") from None


def sha256_of(data: Any) -> str:
    """Hex sha256 of the canonical JSON of `data`."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def sha256_of_parts(parts: Iterable[bytes]) -> str:
    """Hex sha256 of a text in parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def rejection(
    field: str, problem: str, *, allowed: str | None = None, fix: str | None = None
) -> PydanticCustomError:
    """The error that a validator raises to reject `field` (dotted, relative to its spec)."""
    context = {"field": field, "problem": problem, "allowed": allowed, "fix": fix}
    return PydanticCustomError("rejected", "{problem}", context)


def unknown_reference(
    field: str, kind: str, name: str, known: Iterable[str], *, fix: str | None = None
) -> PydanticCustomError:
    """The rejection of a `name` that is not defined in the same file."""
    known = list(known)
    allowed = ", ".join(known) or "none are defined"
    return rejection(field, unknown(kind, name, known), allowed=allowed, fix=fix)
