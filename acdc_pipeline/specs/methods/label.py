"""A method in a few words: its name and the parameter that decides the size of its circuits."""

from __future__ import annotations

from acdc_pipeline.specs.methods.registry import Method
from acdc_pipeline.text import pluralize


def method_label(method: Method) -> str:
    """Return the name of a method with the size of its circuits.

    `acdc 0.01` for a threshold, `eap 5%` for a share of the edges, `eap 60 edges`, `profile`.
    """
    return f"{method.name} {size_label(method)}".rstrip()


def size_label(method: Method) -> str:
    """Return the parameter that decides the size of the circuits of a method.

    `0.01` for a threshold, `5%` for a share of the edges, `60 edges`; empty for a method that finds
    no circuit.
    """
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return f"{threshold:g}"
    if (edges := values.get("edges")) is not None:
        return pluralize(edges, "edge")
    share = values.get("share")
    return "" if share is None else f"{100 * share:.3g}%"
