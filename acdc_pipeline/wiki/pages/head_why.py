"""Why a head looks where a text shows it looking, and what feeds its queries, keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acdc_pipeline.graph.edge import SLOTS, Slot
from acdc_pipeline.heads.source_names import BIAS, NOT_NODES, REST
from acdc_pipeline.wiki.attribution import TEXT_OF_SOURCE, Attributed, Parts
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.head_feeds import FEEDS, Piece, join_pieces, name_parts, show_part
from acdc_pipeline.wiki.text import format_fixed, format_percent, format_signed

_MOST_REASONS = 3
"""Sources named in the sentence."""

_LEAST_REASON = 0.1
"""Share of the score from which a source is named in the sentence."""

_LEAST_AGAINST = 0.2
"""Share of the score from which a source that speaks against the key is named."""

_SHORT = {BIAS: "biases"}


def why_data(one: Attributed, number: int, partners: Mapping[str, tuple[str, float]]) -> Data:
    """Return sentence and rows of an attribution.

    Args:
        number: its place among the attributions of the head.
        partners: earlier head and composition by the weights, by slot.
    """
    return {
        "number": number,
        "pieces": [*_sentence(one), *_written(one)],
        "rows": [
            {
                "slot": slot,
                "what": FEEDS[slot],
                "bars": _bars(one.parts[slot], slot),
                "partner": partners.get(slot),
            }
            for slot in SLOTS
            if one.parts[slot]
        ],
    }


def _sentence(one: Attributed) -> list[Piece]:
    """Say why the key is looked at: the sources with most of the score, and those against it."""
    key = [(name, value) for name, value in one.parts["k"] if name != REST]
    size = abs(one.score)
    reasons = [part for part in key if part[1] > 0 and part[1] >= _LEAST_REASON * size]
    against = [part for part in key if part[1] < 0 and -part[1] >= _LEAST_AGAINST * size]
    looked: Piece = ("itself", "") if one.key[0] == one.query[0] else (one.key[1], "token")
    where = "above" if one.score > 0 else "below"
    pieces = [
        ("From ", ""),
        (one.query[1], "token"),
        (" it gives ", ""),
        looked,
        (
            f" {format_percent(one.weight)} of its attention: its score there is "
            f"{format_fixed(size)} {where} the mean of other tokens",
            "",
        ),
    ]
    if reasons:
        pieces.append((", because of " if one.score > 0 else ", in spite of ", ""))
        pieces += _reasons(reasons[:_MOST_REASONS])
    pieces.append((". ", ""))
    if against:
        pieces += [("Against it: ", ""), *_reasons(against[:1]), (". ", "")]
    return pieces


def _reasons(parts: Sequence[tuple[str, float]]) -> list[Piece]:
    """`its token (+1.10) and what m0 (+2.30) and a0.h3 (+0.50) wrote there`."""
    phrases: list[list[Piece]] = [
        [(f"{TEXT_OF_SOURCE[name]} ({format_signed(value)})", "")]
        for name, value in parts
        if name in NOT_NODES
    ]
    nodes: list[list[Piece]] = [
        [(name, "head" if name[0] == "a" else ""), (f" ({format_signed(value)})", "")]
        for name, value in parts
        if name not in NOT_NODES
    ]
    if nodes:
        phrases.append([("what ", ""), *join_pieces(nodes), (" wrote there", "")])
    return join_pieces(phrases)


def _written(one: Attributed) -> list[Piece]:
    """Say what the head writes for the query: where it is read, and what it does to logits."""
    if not one.tokens or not one.raises or not one.lowers:
        return []
    at, token, share = one.tokens[0]
    there: Piece = ("there", "") if at == one.key[0] else (token, "token")
    (up, gain), (down, loss) = one.raises[0], one.lowers[0]
    pieces = [
        (f"It writes {format_percent(share)} from ", ""),
        there,
        (", raises ", ""),
        (up, "token"),
        (f" most ({format_signed(gain)}) and lowers ", ""),
        (down, "token"),
        (f" most ({format_signed(loss)})", ""),
    ]
    if one.answer is not None:
        answer, effect = one.answer
        pieces += [(", the answer ", ""), (answer, "token"), (f" by {format_signed(effect)}", "")]
    return [*pieces, (".", "")]


def _bars(parts: Parts, slot: Slot) -> list[Data]:
    largest = max(abs(value) for _, value in parts) or 1.0
    return [
        {
            "name": _SHORT.get(name, name),
            "is_head": name[0] == "a",
            "value": show_part(value, slot),
            "width": round(100 * abs(value) / largest),
            "negative": value < 0,
        }
        for name, value in name_parts(parts, slot)
    ]
