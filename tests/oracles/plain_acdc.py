"""ACDC as plainly as it can be written: edge names, nested loops, a full forward per question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One edge tested: its name, the metric with it removed, and whether it went."""

    edge: str
    after: float
    removed: bool
    margin: float


def plain_acdc(
    metric: Callable[[set[str]], float],
    *,
    n_layers: int,
    n_heads: int,
    has_mlp: bool,
    parallel: bool,
    threshold: float,
    reverse_heads: bool = True,
) -> list[Step]:
    """Every decision. `metric(removed)` is the circuit's metric, higher being worse."""
    removed: set[str] = set()
    kept: set[str] = set()
    log = []
    current = metric(removed)
    heads = list(range(n_heads))
    if reverse_heads:
        heads.reverse()

    def layer_sources(layer: int, with_mlp: bool) -> list[str]:
        names = [f"m{layer}"] if has_mlp and with_mlp else []
        return names + [f"a{layer}.h{h}" for h in heads]

    def sources_before(layer: int) -> list[str]:
        names = []
        for earlier in range(layer - 1, -1, -1):
            names += layer_sources(earlier, with_mlp=True)
        return [*names, "input"]

    plan = [("logits", "logits", sources_before(n_layers))]
    for layer in range(n_layers - 1, -1, -1):
        if has_mlp:
            own = [] if parallel else layer_sources(layer, with_mlp=False)
            plan.append((f"m{layer}", f"m{layer}", own + sources_before(layer)))
        for slot in "vkq":
            for h in heads:
                name = f"a{layer}.h{h}"
                plan.append((name, f"{name}<{slot}>", sources_before(layer)))

    for node, receiver, sources in plan:
        alive = node == "logits" or any(edge.startswith(f"{node}->") for edge in kept)
        if not alive:
            continue
        for source in sources:
            edge = f"{source}->{receiver}"
            after = metric(removed | {edge})
            goes = after - current < threshold
            log.append(Step(edge, after, goes, abs(after - current - threshold)))
            if goes:
                removed.add(edge)
                current = after
            else:
                kept.add(edge)
    return log
