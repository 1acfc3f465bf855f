"""Methods, as commands show them."""

from __future__ import annotations

from acdc_pipeline.cli.terminal.words import counted
from acdc_pipeline.cli.views.run_names import size_text
from acdc_pipeline.specs import (
    METHODS,
    AcdcMethod,
    CircuitMethod,
    EapIgAcdcMethod,
    Method,
    ProfileMethod,
    RunSpec,
)


def method_text(spec: RunSpec) -> str:
    """The method with all its parameters.

    `acdc, threshold 0.01, kl, corrupted ablation, reverse-heads, signed`
    """
    method = spec.method
    if isinstance(method, ProfileMethod):
        return _profile_text(method)
    size = size_text(method)
    if isinstance(method, AcdcMethod | EapIgAcdcMethod):
        size = f"threshold {size}"
    elif size.endswith("%"):
        size = f"{size} of the edges"
    parts = [method.name, size, method.metric, f"{method.ablation} ablation"]
    said = {"name", "threshold", "share", "edges", "metric", "ablation"}
    for name, value in method.plain().items():
        if name not in said:
            plain = value if isinstance(value, str) else f"{name.replace('_', ' ')} {value:g}"
            parts.append(plain)
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


def meaning_of_scores(method: CircuitMethod) -> str:
    """What a score of an edge says."""
    return METHODS[method.name].SCORE.format(metric=method.metric)


def size_order(method: Method) -> tuple[str, float]:
    """A key that puts methods side by side, the sparsest circuits of each first."""
    if isinstance(method, AcdcMethod | EapIgAcdcMethod):
        return method.name, -method.threshold
    if isinstance(method, ProfileMethod):
        return method.name, 0.0
    return method.name, method.share or float(method.edges or 0)
