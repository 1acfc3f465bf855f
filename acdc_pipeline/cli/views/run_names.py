"""What a run is called in a line of text: its task, its model, and what tells it from its like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.words import counted

if TYPE_CHECKING:
    from acdc_pipeline.specs import Method, RunSpec


def run_name(spec: RunSpec) -> str:
    """`ioi in zoo:attn-4l at 0.01` or `… by eap 5%`, with the seed unless it is 0."""
    seed = f", seed {spec.seed}" if spec.seed else ""
    how = method_name(spec.method)
    how = f"at {how.removeprefix('acdc ')}" if spec.method.name == "acdc" else f"by {how}"
    return f"{spec.task} in {spec.model} {how}{seed}"


def method_name(method: Method) -> str:
    """The method with the one number that decides how large its circuits are.

    `acdc 0.01` at a threshold, `eap 5%` of the graph's edges, `eap 60 edges`; `profile` has none.
    """
    return f"{method.name} {size_text(method)}".rstrip()


def size_text(method: Method) -> str:
    """`0.01`, `5%` or `60 edges`; empty for a method that finds no circuit."""
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return f"{threshold:g}"
    if (edges := values.get("edges")) is not None:
        return counted(edges, "edge")
    share = values.get("share")
    return "" if share is None else f"{100 * share:.3g}%"
