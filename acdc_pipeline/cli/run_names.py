"""What a run is called in a line of text: its task, its model, and what tells it from its like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.cli.words import counted

if TYPE_CHECKING:
    from acdc_pipeline.specs import Method, RunSpec


def run_name(spec: RunSpec) -> str:
    """`ioi in zoo:attn-4l at 0.01` or `… by eap 5%`, with the seed unless it is 0."""
    seed = f", seed {spec.seed}" if spec.seed else ""
    size = size_text(spec.method)
    how = f"at {size}" if spec.method.name == "acdc" else f"by {spec.method.name} {size}"
    return f"{spec.task} in {spec.model} {how}{seed}"


def method_name(method: Method) -> str:
    """The method with the one number that decides how large its circuits are.

    `acdc 0.01` at a threshold, `eap 5%` of the graph's edges, `eap 60 edges`.
    """
    return f"{method.name} {size_text(method)}"


def size_text(method: Method) -> str:
    """`0.01`, `5%` or `60 edges`."""
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return f"{threshold:g}"
    if (edges := values.get("edges")) is not None:
        return counted(edges, "edge")
    return f"{100 * values['share']:.3g}%"
