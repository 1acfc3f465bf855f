"""Methods as text: all parameters of one, and the order of several."""

from __future__ import annotations

from acdc_pipeline.cli.terminal.words import counted
from acdc_pipeline.cli.views.run_names import size_text
from acdc_pipeline.specs import Method, ProfileMethod, RunSpec, SearchMethod


def method_text(spec: RunSpec) -> str:
    """The method of a run with all its parameters.

    `acdc, threshold 0.01, kl, corrupted ablation, reverse-heads, signed`
    """
    method = spec.method
    if isinstance(method, ProfileMethod):
        return _profile_text(method)
    size = size_text(method)
    if isinstance(method, SearchMethod):
        size = f"threshold {size}"
    elif size.endswith("%"):
        size = f"{size} of the edges"
    parts = [method.name, size, method.metric, f"{method.ablation} ablation"]
    shown = {"name", "threshold", "share", "edges", "metric", "ablation"}
    parts += [
        value if isinstance(value, str) else f"{name.replace('_', ' ')} {value:g}"
        for name, value in method.plain().items()
        if name not in shown
    ]
    return ", ".join(parts)


def _profile_text(method: ProfileMethod) -> str:
    amounts = [
        f"period {method.period}",
        counted(method.sequences, "sequence"),
        counted(method.tokens, "token"),
    ]
    if method.text is not None:
        amounts.append(f"a text of {counted(len(method.text), 'character')}")
    return ", ".join(["profile of heads", *amounts])


def size_order(method: Method) -> tuple[str, float]:
    """A sort key that groups methods by name, with the sparsest circuits of each first."""
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return method.name, -threshold
    return method.name, values.get("share") or float(values.get("edges") or 0)
