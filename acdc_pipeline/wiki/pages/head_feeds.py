"""What feeds a head and what it feeds on a task: by a circuit, and in the text of an attribution.

An edge of a circuit is about all prompts and about what removing it does; an attribution is about
one place in one text, and an exact sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from acdc_pipeline.graph.edge import SLOTS, Slot
from acdc_pipeline.heads.source_names import BIAS, DISTANCE, NOT_NODES, POSITION, REST, TOKEN
from acdc_pipeline.specs.head_scores import parse_metric
from acdc_pipeline.wiki.attribution import Attributed, Parts
from acdc_pipeline.wiki.circuits import Agreement, CircuitSeries, Cut, EdgeKey, find_weakness
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.circuit import METRIC_NAMES, removal_cost
from acdc_pipeline.wiki.text import format_aligned, format_percent, format_signed
from acdc_pipeline.wiki.why_data import model_attributions

FEEDS: Mapping[str, str] = {"q": "queries", "k": "keys", "v": "values"}

_MOST_NAMED = 3
"""Sources named for a slot, and receivers named."""

MOST_BARS: Mapping[Slot, int] = {"q": 2, "k": 3, "v": 2}
"""Sources of an attribution that are shown for a slot."""

_MOST_READERS = 4
"""Later heads that are shown with a bar."""

_OTHERS = {
    TOKEN: "the token embedding",
    POSITION: "the position embedding",
    DISTANCE: "the distance",
    BIAS: "biases",
}

Piece = tuple[str, str]
"""A text, and what it is: `head`, `token`, or nothing."""


class Reader(NamedTuple):
    """A later head that reads a head: in its text, one of its largest sources is that head.

    Args:
        head: the later head.
        slot: what it makes of the source: queries, keys or values.
        value: part of the attention score of queries and keys, share of the output of values.
        share: the size of that part relative to the whole score or output.
    """

    head: str
    slot: Slot
    value: float
    share: float


def name_parts(parts: Parts, slot: Slot) -> list[tuple[str, float]]:
    """Return the sources of an attribution that are shown, the largest first."""
    return [part for part in parts if part[0] != REST][: MOST_BARS[slot]]


def show_part(value: float, slot: Slot) -> str:
    """Format a part of a score with its sign, or a share of an output."""
    return format_percent(value) if slot == "v" else format_signed(value)


def find_readers(model: Model) -> dict[tuple[str | None, str], list[Reader]]:
    """Return the readers of each head on each task (None: random tokens), largest share first."""
    found: dict[tuple[str | None, str], list[Reader]] = {}
    for place in model.places:
        name = head_name(*place)
        for one in model_attributions(model, name):
            task = parse_metric(one.metric)[2]
            for slot in SLOTS:
                whole = 1.0 if slot == "v" else abs(one.score) or 1.0
                for source, value in name_parts(one.parts[slot], slot):
                    if source[0] == "a":
                        reader = Reader(name, slot, value, abs(value) / whole)
                        found.setdefault((task, source), []).append(reader)
    return {key: sorted(some, key=lambda r: -r.share) for key, some in found.items()}


def say_circuit(
    series: CircuitSeries, cut: Cut, agreed: Agreement | None, name: str
) -> list[Piece]:
    """Say which edges of a circuit enter a head, by slot, and which leave it."""
    phrases = _EdgePhrases(series, cut, agreed)
    into: dict[str, list[EdgeKey]] = {}
    for key in cut.edges:
        if key[1] == name:
            into.setdefault(key[2], []).append(key)
    where = f"at {series.describe(cut)}" if series.has_thresholds else f"of {series.describe(cut)}"
    groups: list[list[Piece]] = []
    for slot in ("", *SLOTS):
        if slot in into:
            verb = "are fed by" if not groups else "by"
            what = f"its {FEEDS[slot]} {verb} " if slot else "it is fed by "
            groups.append([(what, ""), *phrases.ends(into[slot], 0)])
    missing = [FEEDS[slot] for slot in SLOTS if slot not in into and "" not in into]
    if missing:
        groups.append([(f"nothing in it feeds its {join_or(missing)}", "")])
    out = [key for key in cut.edges if key[0] == name]
    feeds = [("It feeds ", ""), *phrases.ends(out, 1)] if out else [("Nothing in it reads it", "")]
    if (least := find_weakness(series, cut)) is not None:
        where += f" ({describe_weakness(least)})"
    return [
        (f"In the circuit {where}, ", ""),
        *join_pieces(groups, "; ", "; "),
        (". ", ""),
        *feeds,
        (".", ""),
    ]


def describe_weakness(least: tuple[str, float]) -> str:
    """Return `faithfulness 31 % by the logit difference`, of a metric and a share."""
    name, share = least
    return f"faithfulness {format_percent(share)} by {METRIC_NAMES.get(name, name)}"


class _EdgePhrases:
    """Names the ends of edges, with the scores of the edges; only the first says its unit."""

    def __init__(self, series: CircuitSeries, cut: Cut, agreed: Agreement | None) -> None:
        self.series, self.cut, self.agreed = series, cut, agreed
        self.cost = removal_cost(series)
        self.is_first = True

    def ends(self, keys: Sequence[EdgeKey], end: int) -> list[Piece]:
        """Name the sources (`end` 0) or receivers (1) of edges, largest |score| first."""
        order = {key: place for place, key in enumerate(self.cut.edges)}
        ranked = sorted(keys, key=lambda k: (-abs(self.cut.edges[k].score or 0.0), order[k]))
        groups = [self._name(key, end) for key in ranked[:_MOST_NAMED]]
        if len(ranked) > _MOST_NAMED:
            groups.append([(f"{len(ranked) - _MOST_NAMED} more", "")])
        return join_pieces(groups)

    def _name(self, key: EdgeKey, end: int) -> list[Piece]:
        node, slot = key[end], key[2]
        before = f"the {FEEDS[slot]} of " if end and slot else ""
        pieces: list[Piece] = [(before, ""), (node, "head")] if node[0] == "a" else [(node, "")]
        if node in ("input", "logits"):
            pieces = [(f"the {node}", "")]
        span = f" at {key[3]}" if self.series.by_span else ""
        number = self._number(key)
        return [*pieces, (span + (f" ({number})" if number else ""), "")]

    def _number(self, key: EdgeKey) -> str:
        score = self.cut.edges[key].score
        if self.series.searches:
            kept = None if self.agreed is None else self.agreed.searches_with(key)
            return "" if kept is None else f"in {kept} of {self.series.searches} circuits"
        if score is None:
            return ""
        shown, is_first, self.is_first = format_aligned(score), self.is_first, False
        if not is_first:
            return shown
        if self.cost is None:
            return f"score {shown}"
        verb = self.cost["verb"] or ("gains" if score < 0 else "costs")
        size = shown.lstrip("−") if verb == "gains" else shown
        return f"removing that edge {verb} {size} {self.cost['unit']}"


def say_attributed(one: Attributed) -> list[Piece]:
    """Say which source feeds queries, keys and values most in the text of an attribution."""
    groups: list[list[Piece]] = []
    for slot in SLOTS:
        named = name_parts(one.parts[slot], slot)
        if not named:
            continue
        source, value = named[0]
        what = f"its {FEEDS[slot]} " + ("are fed most by " if not groups else "by ")
        node: Piece = (
            (_OTHERS[source], "")
            if source in NOT_NODES
            else (source, "head" if source[0] == "a" else "")
        )
        groups.append([(what, ""), node, (f" ({show_part(value, slot)})", "")])
    return [("In the first text ", ""), *join_pieces(groups), (".", "")] if groups else []


def reader_bars(readers: Sequence[Reader]) -> list[Data]:
    """Return the later heads that a head feeds most, as bars."""
    return [
        {
            "name": reader.head,
            "slot": reader.slot,
            "value": show_part(reader.value, reader.slot),
            "width": round(100 * min(1.0, reader.share)),
            "negative": reader.value < 0,
        }
        for reader in readers[:_MOST_READERS]
    ]


def join_pieces(
    groups: Sequence[Sequence[Piece]], last: str = " and ", comma: str = ", "
) -> list[Piece]:
    """Join as `a, b and c`."""
    found: list[Piece] = []
    for number, group in enumerate(groups, 1):
        if number > 1:
            found.append((last if number == len(groups) else comma, ""))
        found += group
    return found


def join_or(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
