"""ACDC as plainly as it can be written: edge names, nested loops, a full forward per question."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Step:
    """One edge tested: its name, the metric with it removed, and whether it went."""

    edge: str
    after: float
    removed: bool
    margin: float


def uniform_steps(n_layers: int, *, has_mlp: bool, parallel: bool) -> list[list[str]]:
    """The `steps` of a model whose layers have heads, and all or none an MLP."""
    parts = ["a", "m"] if has_mlp else ["a"]
    return [["".join(parts)] if parallel else parts] * n_layers


class Divergence(Protocol):
    """A model by brute force."""

    def kl(self, removed: set[str]) -> float: ...

    def kl_of_all(self, removed: Sequence[Collection[str]]) -> list[float]: ...


AT_ONCE = 64
"""Circuits in one forward."""


def metric_of_search(
    plain: Divergence, decisions: Sequence[tuple[str, bool]]
) -> Callable[[set[str]], float]:
    """KL by brute force. The circuits that a search with these decisions meets are run at once."""
    removed: set[str] = set()
    met = [frozenset(removed)]
    for edge, goes in decisions:
        met.append(frozenset(removed | {edge}))
        if goes:
            removed.add(edge)
    known: dict[frozenset[str], float] = {}
    for start in range(0, len(met), AT_ONCE):
        some = met[start : start + AT_ONCE]
        known |= dict(zip(some, plain.kl_of_all(some), strict=True))

    def metric(gone: set[str]) -> float:
        return known[frozenset(gone)] if frozenset(gone) in known else plain.kl(gone)

    return metric


Visit = tuple[list[str], str, list[str]]
"""The nodes that a receiver lets write, its name, and the sources it reads."""


def sources_of_layers(
    steps: Sequence[Sequence[str]], n_heads: int, mlp_nodes: Callable[[int], list[str]]
) -> list[Visit]:
    """`visits` of a model whose MLPs are these nodes: one, or experts and what is beside them."""
    plan: list[Visit] = []
    for node, receiver, sources in visits(steps, n_heads):
        read = [name for source in sources for name in _split(source, mlp_nodes)]
        nodes = _split(node, mlp_nodes)
        plan += [([name], receiver if len(nodes) == 1 else name, read) for name in nodes]
        if len(nodes) > 1:
            plan.append(([n for n in nodes if ".e" in n], f"{node}.router", read))
    return plan


def _split(node: str, mlp_nodes: Callable[[int], list[str]]) -> list[str]:
    return mlp_nodes(int(node[1:]))[::-1] if node[0] == "m" else [node]


def visits(
    steps: Sequence[Sequence[str]], n_heads: int, *, reverse_heads: bool = True
) -> list[tuple[str, str, list[str]]]:
    """Every node, its receiver and what that reads, from the output backwards.

    Args:
        steps: by layer, the groups of parts that read the same stream, in order of computation;
            `a` stands for the heads, `r` for a mixer, `m` for an MLP.
    """
    heads = list(range(n_heads))
    if reverse_heads:
        heads.reverse()

    def nodes(layer: int, parts: str) -> list[str]:
        names = [f"{part}{layer}" for part in "mr" if part in parts]
        return names + [f"a{layer}.h{h}" for h in heads if "a" in parts]

    def sources_before(layer: int) -> list[str]:
        names = []
        for earlier in range(layer - 1, -1, -1):
            names += nodes(earlier, "".join(steps[earlier]))
        return [*names, "input"]

    def sources_of(layer: int, part: str) -> list[str]:
        own = next(i for i, group in enumerate(steps[layer]) if part in group)
        return nodes(layer, "".join(steps[layer][:own])) + sources_before(layer)

    plan = [("logits", "logits", sources_before(len(steps)))]
    for layer in range(len(steps) - 1, -1, -1):
        here = "".join(steps[layer])
        for part in "mr":
            if part in here:
                name = f"{part}{layer}"
                plan.append((name, name, sources_of(layer, part)))
        for slot in "vkq":
            for name in nodes(layer, "a" if "a" in here else ""):
                plan.append((name, f"{name}<{slot}>", sources_of(layer, "a")))
    return plan


def visits_in_spans(
    plan: Sequence[Visit], spans: Sequence[str], sees: Mapping[str, Collection[str]], answers: str
) -> list[Visit]:
    """The same receivers in each span, the last one first; writers are nodes in spans.

    Args:
        sees: the spans that the queries of each span see.
        answers: the only span in which the logits are read.
    """
    out: list[Visit] = []
    for writers, receiver, sources in plan:
        for span in [answers] if receiver == "logits" else reversed(spans):
            across = receiver.endswith(("<k>", "<v>")) or receiver.startswith("r")
            later = [s for s in spans if span in sees[s]] if across else [span]
            nodes = [f"{node}@{s}" for node in writers for s in later]
            out.append((nodes, f"{receiver}@{span}", sources))
    return out


def plain_acdc(
    metric: Callable[[set[str]], float],
    *,
    steps: Sequence[Sequence[str]],
    n_heads: int,
    threshold: float,
    reverse_heads: bool = True,
) -> list[Step]:
    """Every decision. `metric(removed)` is the circuit's metric, higher being worse."""
    plan = visits(steps, n_heads, reverse_heads=reverse_heads)
    return decide_all(
        metric, [([node], receiver, sources) for node, receiver, sources in plan], threshold
    )


def decide_all(
    metric: Callable[[set[str]], float], plan: Sequence[Visit], threshold: float
) -> list[Step]:
    """Every decision, receivers in the order of `plan`."""
    removed: set[str] = set()
    kept: set[str] = set()
    log = []
    current = metric(removed)
    for writers, receiver, sources in plan:
        if receiver.split("@")[0] != "logits" and not set(map(_writer, kept)) & {*writers}:
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


def _writer(edge: str) -> str:
    """The node whose output an edge carries, with the span of the edge if it has one."""
    source, receiver = edge.split("->")
    return "@".join([source, *receiver.split("@")[1:]])
