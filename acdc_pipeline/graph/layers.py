"""The layers of a graph: their parts, and the experts of their mixtures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from acdc_pipeline.errors import GraphError
from acdc_pipeline.text import pluralize

PARTS = ("a", "r", "m", "ar", "am", "rm", "arm")
"""What a layer may consist of: attention heads, a mixer, an MLP."""

MOST_EXPERTS = 100_000
"""Limit of a whole graph against invalid files, whose graphs would fill any memory."""


def check_layers(
    layers: Iterable[str], n_layers: int, n_heads: int, has_mlp: bool
) -> tuple[str, ...]:
    """Return the parts of each layer as a tuple.

    Raises:
        GraphError: a layer has other parts than `a`, `r` and `m`, each at most once and in this
            order; or they contradict the other arguments of a `Topology`.
    """
    found = (layers,) if isinstance(layers, str) else tuple(layers)
    for index, parts in enumerate(found):
        if parts not in PARTS:
            raise GraphError(
                f"{parts!r} is not the parts of a layer",
                field=f"layers.{index}",
                allowed=", ".join(PARTS),
            )
    if len(found) != n_layers:
        raise GraphError(f"parts of {len(found)} layers", field="layers", allowed=f"{n_layers}")
    for name, letter, there in (("n_heads", "a", n_heads > 0), ("has_mlp", "m", has_mlp)):
        if there != any(letter in parts for parts in found):
            value = n_heads if letter == "a" else has_mlp
            raise GraphError(
                f"{value} contradicts layers, of which {'none' if there else 'some'} "
                f"{'has' if there else 'have'} the part {letter}",
                field=name,
            )
    return found


def check_experts(
    experts: Sequence[int], shared: Sequence[int], layers: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of experts, and the layers with a further node; both empty without any.

    Raises:
        GraphError: they are not numbers of layers with an MLP, or of experts.
    """
    experts, shared = tuple(experts), tuple(shared)
    for name, numbers in (("experts", experts), ("shared", shared)):
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise GraphError(f"{list(numbers)} are not whole numbers from 0 on", field=name)
    if experts and len(experts) != len(layers):
        raise GraphError(
            f"experts of {len(experts)} layers", field="experts", allowed=f"{len(layers)}"
        )
    if sum(experts) > MOST_EXPERTS:
        raise GraphError(
            f"{sum(experts):,} experts are more than any model's",
            field="experts",
            allowed=f"up to {MOST_EXPERTS:,}",
        )
    for layer, (count, parts) in enumerate(zip(experts, layers, strict=False)):
        if count and "m" not in parts:
            raise GraphError(
                "experts of a layer without an MLP", field=f"experts.{layer}", allowed="0"
            )
    split = [layer for layer, count in enumerate(experts) if count]
    if list(shared) != [layer for layer in split if layer in shared]:
        raise GraphError(
            f"{list(shared)} are not layers with experts, in order",
            field="shared",
            allowed=f"some of {split}",
        )
    return (experts, shared) if split else ((), ())


def describe_layers(layers: Sequence[str], n_heads: int) -> str:
    """Return the parts of layers as text, for messages."""
    runs = [(parts, len(list(run))) for parts, run in groupby(layers)]
    listed = ", ".join(parts if n == 1 else f"{n} x {parts}" for parts, n in runs)
    named = {"a": pluralize(n_heads, "head"), "r": "mixer", "m": "MLP"}
    meant = ", ".join(
        f"{letter}: {name}"
        for letter, name in named.items()
        if any(letter in parts for parts in layers)
    )
    return f"{pluralize(len(layers), 'layer')} of the parts {listed} ({meant})"


def describe_experts(experts: Sequence[int], shared: Sequence[int]) -> str:
    """Return the experts that are nodes as text after a comma; empty without any."""
    if not experts:
        return ""
    counts = sorted({count for count in experts if count})
    n_layers = sum(count > 0 for count in experts)
    text = f", {' or '.join(map(str, counts))} experts in {pluralize(n_layers, 'layer')}"
    return text + (f" (with a shared part in {len(shared)})" if shared else "")
