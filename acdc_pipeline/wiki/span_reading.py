"""Where a head reads and writes on a task: facts of its circuit by position, and their sentence.

A head at a query span writes there what it reads, at the keys and values of all spans that its
queries see (`graph.spans`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.wiki.circuits import CircuitSeries, Cut
from acdc_pipeline.wiki.profile import SpanAttention
from acdc_pipeline.wiki.text import format_percent, join_words, pluralize

_MAX_QUERIES = 2
_MAX_KEYS = 3
_MAX_NAMES = 3
"""Query spans, key spans and names of components in a sentence."""

_LEAST_ATTENTION = 0.01
"""Key spans with less are left out of a sentence, but for the one with the most."""

_SLOT_TITLES = {"k": "key", "v": "value"}


@dataclass(frozen=True)
class ReadSpan:
    """What a head reads at a span of keys.

    Args:
        slots: `k`, `v` or both: what edges of the circuit reach.
        attention: mean attention to it from the query span; None where it was not measured.
    """

    span: str
    slots: tuple[str, ...]
    attention: float | None


@dataclass(frozen=True)
class WrittenSpan:
    """What a head does at a span of queries.

    Args:
        queries: the sources that its query reads there.
        keys: what it reads from there, most attention first, else last span first.
        readers: the receivers that read what it writes there, as `a3.h1<q>`.
        weight: sum of |score| over the edges that leave it there.
    """

    span: str
    queries: tuple[str, ...]
    keys: tuple[ReadSpan, ...]
    readers: tuple[str, ...]
    weight: float


def shown_cut(series: CircuitSeries, head: str) -> Cut | None:
    """Return the circuit that the page shows first if a head is in it, else the smallest one.

    None if the head is in no circuit.
    """
    inside = series.heads.get(head)
    if inside is None:
        return None
    return series.cuts[series.first_shown if inside[series.first_shown] else inside.index(True)]


def find_written(
    series: CircuitSeries, cut: Cut, head: str, attention: SpanAttention | None
) -> list[WrittenSpan]:
    """Return the spans at which a circuit reads the output of a head, most |score| first.

    Edges on no path from `input` to `logits` do not count.
    """
    spans, visible = series.shape.spans, series.shape.visible
    into: dict[tuple[str, str], list[str]] = {}
    out: dict[str, list[str]] = {}
    weights: dict[str, float] = {}
    for (src, dst, slot, span), edge in cut.edges.items():
        if (src, dst, slot, span) not in cut.live:
            continue  # what it carries does not reach the output
        if dst == head:
            into.setdefault((span, slot), []).append(src)
        if src == head:
            out.setdefault(span, []).append(f"{dst}<{slot}>" if slot else dst)
            weights[span] = weights.get(span, 0.0) + abs(edge.score or 0.0)
    found = []
    for query in sorted(out, key=lambda span: (-weights[span], -spans.index(span))):
        keys = []
        for key in reversed(spans):
            slots = tuple(s for s in SLOTS if s in _SLOT_TITLES and (key, s) in into)
            if slots and key in visible[query]:
                weight = None if attention is None else attention.weight(head, query, key)
                keys.append(ReadSpan(key, slots, weight))
        keys.sort(key=lambda read: -(read.attention or 0.0))
        queries = tuple(into.get((query, "q"), ()))
        found.append(WrittenSpan(query, queries, tuple(keys), tuple(out[query]), weights[query]))
    return found


def mark_span(name: str) -> str:
    """Return the name of a span as HTML."""
    return f"<code>{escape(name)}</code>"


def describe_written(found: Sequence[WrittenSpan]) -> Markup:
    """Return one sentence: at which spans a head writes, what it reads from there, who reads it.

    Names of spans are marked.
    """
    if not found:
        return Markup("It is on no path from input to logits.")
    parts = [_describe(written) for written in found[:_MAX_QUERIES]]
    if len(found) > _MAX_QUERIES:
        rest = join_words([mark_span(written.span) for written in found[_MAX_QUERIES:]])
        parts.append(f"it also writes at {rest}")
    text = "; ".join(parts)
    return Markup(f"{text[:1].upper()}{text[1:]}.")


def _describe(written: WrittenSpan) -> str:
    """`at END it reads S2’s key (61 % of its attention), and writes to logits`, as HTML."""
    keys = [
        read
        for index, read in enumerate(written.keys)
        if not index or read.attention is None or read.attention >= _LEAST_ATTENTION
    ]
    reads = [_read_text(read, not index) for index, read in enumerate(keys[:_MAX_KEYS])]
    if len(keys) > _MAX_KEYS:
        reads.append(pluralize(len(keys) - _MAX_KEYS, "other span"))
    text = (
        f"at {mark_span(written.span)} it reads {join_words(reads) if reads else 'no key or value'}"
    )
    if written.queries:
        text += f", with a query from {_names(written.queries)}"
    return f"{text}, and writes to {_names(written.readers)}"


def _read_text(read: ReadSpan, is_first: bool) -> str:
    text = f"{mark_span(read.span)}’s {join_words([_SLOT_TITLES[slot] for slot in read.slots])}"
    if read.attention is None:
        return text
    unit = " of its attention" if is_first else ""
    return f"{text} ({format_percent(read.attention)}{unit})"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return join_words([*map(escape, names[:_MAX_NAMES]), *([f"{more} more"] if more > 0 else [])])
