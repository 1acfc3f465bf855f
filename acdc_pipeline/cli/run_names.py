"""What a run is called in a line of text: its task, its model, and what tells it from its like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acdc_pipeline.specs import Method, RunSpec


def run_name(spec: RunSpec) -> str:
    """`ioi in zoo:attn-4l at 0.01`, `ioi in zoo:attn-4l by eap`, with the seed unless it is 0."""
    seed = f", seed {spec.seed}" if spec.seed else ""
    return f"{spec.task} in {spec.model} {_how(spec.method)}{seed}"


def method_name(method: Method) -> str:
    """`acdc 0.01`, `eap`."""
    threshold = method.plain().get("threshold")
    return method.name if threshold is None else f"{method.name} {threshold:g}"


def _how(method: Method) -> str:
    threshold = method.plain().get("threshold")
    if threshold is None:
        return f"by {method.name}"
    return f"at {threshold:g}" if method.name == "acdc" else f"by {method.name} {threshold:g}"
