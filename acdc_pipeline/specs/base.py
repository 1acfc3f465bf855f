"""The base of every specification: frozen data that says *what*, never how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from acdc_pipeline.errors import with_suggestion


class Spec(BaseModel):
    """Frozen, rejects unknown keys, no NaN or infinity.

    Read files with `acdc_pipeline.specs.load_yaml`, which names file and field in its errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def with_files_read(cls, data: Any, folder: Path) -> Any:  # noqa: ARG003  (for subclasses)
        """`data` with the contents of the files it names in `folder`, before validation.

        What is read becomes part of the spec, so that hashing the spec hashes the data.
        """
        return data

    def plain(self) -> dict[str, Any]:
        """The spec as JSON-ready data."""
        return self.model_dump(mode="json")

    @classmethod
    def from_plain(cls, data: Any) -> Self:
        """The spec from what `plain` gave."""
        return cls.model_validate_json(json.dumps(data), strict=True)


def tag_of(kind: type[BaseModel]) -> str:
    """The only `name` that specs of this `kind` have: what a union tells them apart by."""
    return get_args(kind.model_fields["name"].annotation)[0]


def canonical_json(data: Any) -> str:
    """The one JSON text of `data`: sorted keys, no spaces, no NaN, UTF-8 kept."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def sha256_of(data: Any) -> str:
    """Hex sha256 of the canonical JSON of `data`."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def rejection(
    field: str, problem: str, *, allowed: str | None = None, fix: str | None = None
) -> PydanticCustomError:
    """What a validator raises to reject `field` (dotted, relative to its spec)."""
    context = {"field": field, "problem": problem, "allowed": allowed, "fix": fix}
    return PydanticCustomError("rejected", "{problem}", context)


def unknown_reference(
    field: str, kind: str, name: str, known: Iterable[str], *, fix: str | None = None
) -> PydanticCustomError:
    """The rejection of a `name` that stands for nothing in the same file."""
    known = list(known)
    allowed = with_suggestion(", ".join(known) or "none are defined", name, known)
    return rejection(field, f"'{name}' is not a {kind}", allowed=allowed, fix=fix)
