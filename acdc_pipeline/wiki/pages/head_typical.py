"""What shows the sentence of a head: a pattern and texts near the mean, with the tokens marked."""

from __future__ import annotations

import math

from acdc_pipeline.heads.habits import HABITS
from acdc_pipeline.plotting.heatmap import draw_attention_mask
from acdc_pipeline.specs.head_scores import parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.statement import Statement, find_typical
from acdc_pipeline.wiki.text import (
    format_fixed,
    format_percent,
    format_signed,
    pluralize,
    show_token,
)
from acdc_pipeline.wiki.typical import Typical, TypicalPlace

_PLACES = {
    **HABITS,
    "attention_to_answer": "the right answer",
    "attention_to_repeat": "the last mention of the repeated name",
}

_LEAST_SHADE = 0.03
"""Attention from which a token is shaded."""

_LONGEST_TOKEN = 13
"""Characters shown of a token in a text."""

_MOST_CHARACTERS = 64
"""Length of a piece of a text."""

_MOST_SHADE = 50
"""Percentage of colour at full attention."""


def typical_data(model: Model, place: HeadIndex, statement: Statement) -> Data | None:
    """Return pattern, texts and their explanation; None in profiles that hold none."""
    shown = find_typical(model, place, statement.example)
    if shown is None:
        return None
    if statement.shifted is not None:
        return _shifted_data(place, *statement.shifted)
    name, _, task = parse_metric(shown.metric)
    mean = _mean(model, place, shown.metric)
    intro = []
    if shown.metric != statement.example:
        # the one that `find_typical` chooses instead is about attention to a place
        intro.append(
            f"No text shows that. On {shown.texts[0].text.source} it looks most at "
            f"{_PLACES[name]} ({format_percent(mean)} of its attention)."
        )
    intro.append(_introduce(shown, mean))
    return {
        "intro": " ".join(intro),
        "marks": _PLACES.get(name),
        "figure": _figure(shown, head_name(*place), _what(name)),
        "texts": [_text(one, shown.metric, looks=name in _PLACES) for one in shown.texts],
        "on": task,
    }


def text_data(model: Model, place: HeadIndex, metric: str) -> Data | None:
    """Return the text nearest to the mean of a score, without a pattern; None where none is."""
    every = (one for profile in model.profiles for one in profile.typical(head_name(*place)))
    shown = next((one for one in every if one.metric == metric), None)
    if shown is None:
        return None
    looks = parse_metric(metric)[0] in _PLACES
    return {
        "intro": _introduce(shown, _mean(model, place, metric)),
        "text": _text(shown.texts[0], metric, looks=looks),
    }


def _mean(model: Model, place: HeadIndex, metric: str) -> float | None:
    return float(model.scores[metric].values[place]) if metric in model.scores else None


def _what(name: str) -> str:
    if name in _PLACES:
        return f"attention to {_PLACES[name]}"
    return "effect on the logit of the answer over wrong ones"


def _introduce(shown: Typical, mean: float | None) -> str:
    """Say how near the texts are to the mean, and how far all places spread."""
    name = parse_metric(shown.metric)[0]
    looks = name in _PLACES
    signs = format_percent if looks else format_signed
    return (
        f"Places on {shown.texts[0].text.source} whose {_what(name)} is "
        f"{_nearness(shown, mean, looks)} of {signs(mean)}; "
        f"over all {pluralize(shown.places, 'place')}, four in five lie between "
        f"{signs(shown.low)} and {signs(shown.high)}."
    )


def _nearness(shown: Typical, mean: float | None, looks: bool) -> str:
    """Say how far the farthest of the texts is from the mean: `within 3 points of the mean`."""
    if mean is None:
        return "near the mean"
    far = max(abs(one.value - mean) for one in shown.texts)
    # rounded up, so that it is not understated
    reach = pluralize(max(1, math.ceil(100 * far)), "point") if looks else format_fixed(far + 0.005)
    return f"within {reach} of the mean"


def _shifted_data(place: HeadIndex, distance: int, share: float, shown: Typical) -> Data:
    what = f"attention {distance} tokens back"
    return {
        "intro": f"On {shown.texts[0].text.source}: {what} is {format_percent(share)} on average "
        "in the first text.",
        "marks": f"the token {distance} back",
        "figure": _figure(shown, head_name(*place), what),
        "texts": [_text(one, shown.metric, looks=True) for one in shown.texts],
        "on": None,
    }


def _figure(shown: Typical, name: str, what: str) -> Data:
    text = shown.texts[0].text
    inside = [float(shown.pattern[cell]) / 255 for cell in shown.cells]
    label = f"Attention of {name} between {len(text.tokens)} tokens of {text.source}."
    caption = f"On {text.source}"
    if inside:
        queries = len({query for query, _ in shown.cells})
        share = format_percent(sum(inside) / queries) + (" on average" if queries > 1 else "")
        label += f" Outlined: {what}, {share}."
        caption += f"; outlined: what counts, here {share}"
    return {
        "caption": caption,
        "mask": draw_attention_mask(shown.pattern),
        "label": label,
        "tokens": [show_token(token) for token in text.tokens],
        "cells": "".join(f"M{key} {query}h1v1h-1z" for query, key in shown.cells),
    }


def _text(one: TypicalPlace, metric: str, *, looks: bool) -> Data:
    """Return the pieces of a text: its tokens, with their marks and shades."""
    keys = {key for query, key in one.text.cells.get(metric, ()) if query == one.query}
    are_ids = all(token.isdecimal() for token in one.text.tokens)
    shown = [token[:_LONGEST_TOKEN] for token in one.text.tokens]
    pieces: list[tuple[str, str, int]] = []
    before = -1
    for index, (token, at) in enumerate(zip(shown, one.text.at, strict=True)):
        mark = "query" * (index == one.query) + "key" * (index in keys)
        weight = float(one.weights[index]) / 255
        shade = round(_MOST_SHADE * weight) if weight >= _LEAST_SHADE else 0
        gap = " … " if at != before + 1 else " " if are_ids and index else ""
        before = at
        if gap:
            pieces.append((gap, "", 0))
        # the filter that makes characters visible cuts long texts
        is_short = bool(pieces) and len(pieces[-1][0]) + len(token) <= _MOST_CHARACTERS
        if is_short and not mark and not shade and not any(pieces[-1][1:]):
            pieces[-1] = (pieces[-1][0] + token, "", 0)
        else:
            pieces.append((token, mark, shade))
    if looks:
        note = f"{format_percent(one.value)} of its attention on the underlined"
    else:
        most = int(one.weights.argmax())
        share, token = float(one.weights[most]) / 255, show_token(one.text.tokens[most])
        note = (
            f"{format_signed(one.value)} to the logit of the answer over wrong ones; most of its "
            f"attention, {format_percent(share)}, on “{token}”"
        )
    return {"pieces": pieces, "note": note}
