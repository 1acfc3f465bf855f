"""Parts of a module by the dotted paths that an architecture names."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.errors import UnsupportedModel


def find(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path, `.` for itself.

    Raises:
        UnsupportedModel: there is none.
    """
    part = find_optional(module, path)
    if part is None:
        raise UnsupportedModel(f"'{type(module).__name__}' has no module '{path}'")
    return part


def find_optional(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path, `.` for itself; None if there is none."""
    if path in ("", "."):
        return module if path else None
    part = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part
