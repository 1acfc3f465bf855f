"""Checks of the keys and types of a document that describes a circuit, such as a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acdc_pipeline.errors import GraphError, unknown


def check_keys(values: Mapping[Any, Any], path: str, known: Iterable[str]) -> None:
    """Raise GraphError, with `path` in the document, if `values` has a key that is not `known`."""
    known = tuple(known)
    for key in values:
        if key not in known:
            place = f"{path}.{key}" if path else str(key)
            raise GraphError(
                unknown("key", key, known), field=place, allowed=", ".join(known) or "no keys"
            )


def check_types(values: Mapping[str, Any], path: str, **kinds: type) -> None:
    """Raise GraphError unless each of `values`, found at `path` of a document, has its type."""
    for name, kind in kinds.items():
        # bool is a subclass of int, but True is not a number of layers.
        if type(value := values.get(name)) is not kind:
            field = f"{path}.{name}"
            raise GraphError(f"{value!r} is not valid", field=field, allowed=kind.__name__)


_LISTS = {str: ("list of texts", '["rm", "am"]'), int: ("list of whole numbers", "[0, 8, 8]")}


def read_list(values: Mapping[Any, Any], path: str, name: str, kind: type) -> tuple[Any, ...]:
    """Return the list `name`, empty if it is missing; GraphError if it holds something else."""
    found = values.get(name, [])
    if not isinstance(found, list | tuple) or not all(type(one) is kind for one in found):
        what, example = _LISTS[kind]
        raise GraphError(
            f"{found!r} is not a {what}", field=f"{path}.{name}", allowed=f"such as {example}"
        )
    return tuple(found)
