"""Spans of a graph: named token positions, in one of which each edge lives.

Positions mix inside heads and mixers only. A head's `q` receiver and the input of an MLP count for
what the node writes in the same span; a `k` or `v` receiver, and the input of a mixer, for what it
writes in every span that sees theirs (Haklay et al. 2025, arXiv 2502.04577, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.edge import SPAN_NAME, Receiver


@dataclass(frozen=True)
class GraphSpans:
    """The spans of a graph, as in the arguments of a `Topology` of the same names."""

    spans: tuple[str, ...]
    answer_spans: tuple[str, ...]
    sees: tuple[str, ...]


MOST_SPANS = 1_000
"""Limit against invalid files; a span for each token of a long prompt is fewer."""


def check_spans(
    spans: Iterable[str], answer_spans: Iterable[str], sees: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the spans of a graph as tuples, see `Topology`.

    Raises:
        GraphError: a name is invalid or repeated, or answers or visible spans are unknown.
    """
    spans, answer_spans, sees = tuple(spans), tuple(answer_spans), tuple(sees)
    if not spans and (answer_spans or sees):
        raise GraphError("answers or visible spans of a graph without spans", field="spans")
    if len(spans) > MOST_SPANS:
        raise GraphError(
            f"{len(spans):,} spans are too many", field="spans", allowed=f"up to {MOST_SPANS:,}"
        )
    for name in spans:
        if not re.fullmatch(SPAN_NAME, name, re.ASCII):
            raise GraphError(
                f"{name!r} is not the name of a span", field="spans", allowed="such as S1, S1+1"
            )
    if len(set(spans)) != len(spans):
        raise GraphError(f"{list(spans)} name a span twice", field="spans")
    if spans and (
        not answer_spans or list(answer_spans) != [s for s in spans if s in answer_spans]
    ):
        raise GraphError(
            f"{list(answer_spans)} are not spans of answers",
            field="answer_spans",
            allowed=f"some of {', '.join(spans)}, in this order",
        )
    if len(sees) != len(spans):
        raise GraphError(
            f"{len(sees)} lists of visible spans", field="sees", allowed=f"{len(spans)}"
        )
    for name, visible in zip(spans, sees, strict=True):
        listed = visible.split(" ")
        if name not in listed or listed != [span for span in spans if span in listed]:
            raise GraphError(
                f"{visible!r} are not the spans that '{name}' sees",
                field="sees",
                allowed=f"some of {' '.join(spans)}, in this order, {name} among them",
            )
    return spans, answer_spans, sees


def visible_spans(spans: Sequence[str], sees: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return for each span the spans that it sees."""
    return {name: frozenset(seen.split(" ")) for name, seen in zip(spans, sees, strict=True)}


def positions_of(spans: Sequence[str]) -> Literal["none", "spans", "tokens"]:
    """Return the kind of positions that a graph of these spans has."""
    if not spans:
        return "none"
    return "tokens" if list(spans) == [f"t{i}" for i in range(len(spans))] else "spans"


def mixes_positions(receiver: Receiver) -> bool:
    """Whether what `receiver` reads at a position changes its node's output at other positions."""
    return receiver.slot in ("k", "v") or receiver.node.kind == "mixer"


def spans_written(receiver: Receiver, sees: Mapping[str, frozenset[str]]) -> tuple[str | None, ...]:
    """Return the spans in which the output of a receiver's node depends on what it reads.

    Args:
        sees: the spans that each span sees; empty in a graph without spans, where the only entry
            of the result is None.
    """
    if receiver.span is None or not mixes_positions(receiver):
        return (receiver.span,)
    return tuple(span for span, seen in sees.items() if receiver.span in seen)
