"""Examples of what a head does: attention on prompts, snippets, tokens of its directions."""

from __future__ import annotations

from acdc_pipeline.plotting.heatmap import draw_attention_mask
from acdc_pipeline.wiki.circuits import split_positions
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.pages.circuit import circuit_path
from acdc_pipeline.wiki.profile import Direction, Pattern, Snippet, SpanAttention
from acdc_pipeline.wiki.site import Section
from acdc_pipeline.wiki.span_reading import describe_written, find_written, shown_cut
from acdc_pipeline.wiki.text import format_percent, show_token

_MAX_PATTERNS = 2
"""A prompt and its counterfactual."""

_MAX_SNIPPETS = 3
_BEFORE, _AFTER = 9, 2
"""Number of tokens shown before and after the query."""

_LEAST_COMPOSITION = 0.01
"""Composition above chance from which an earlier head is named."""

_MAX_DIRECTIONS = {"ov": 2, "qk": 1}
_VERBS = {"ov": ("Attending to", "it raises"), "qk": ("From", "it attends to")}
_CAPTIONS = {
    "clean": "On a prompt of {task}",
    "corrupted": "On its counterfactual, as a control",
}
_SIDES = {"clean": "a prompt", "corrupted": "its counterfactual, as a control"}


def pattern_rows(model: Model, place: HeadIndex) -> list[Data]:
    """Return the attention on one prompt, and on its counterfactual, of the first task in rank."""
    name = head_name(*place)
    profiles = sorted(model.profiles, key=lambda profile: model.task_rank(place, profile.task))
    patterns = next((found for p in profiles if (found := p.patterns(name))), [])
    return [_pattern(pattern, name) for pattern in patterns[:_MAX_PATTERNS]]


def span_rows(section: Section, place: HeadIndex) -> list[Data]:
    """Return where a head reads and writes on each task with circuits by position.

    With its mean attention between the spans, if a profile has it.
    """
    model, name = section.model, head_name(*place)
    measured = {
        profile.task: profile.span_attention
        for profile in reversed(model.profiles)
        if profile.span_attention is not None
    }
    rows = []
    for task, found in model.circuits.items():
        series = next(iter(split_positions(found)[1]), None)
        cut = None if series is None else shown_cut(series, name)
        if series is None or cut is None:
            continue
        attention = measured.get(task)
        written = find_written(series, cut, name, attention)
        rows.append(
            {
                "task": task,
                "path": circuit_path(section, series),
                "circuit": series.describe(cut),
                "text": describe_written(written),
                "pattern": None if attention is None else _span_pattern(task, attention, name),
            }
        )
    return rows


def _span_pattern(task: str, attention: SpanAttention, name: str) -> Data | None:
    weights = attention.weights.get(name)
    if weights is None:
        return None
    strongest = ", ".join(
        f"from {query} most to {attention.spans[key]} ({format_percent(row[key] / 255)})"
        for query, row in zip(attention.spans, weights, strict=True)
        for key in (int(row.argmax()),)
    )
    return {
        "caption": f"Mean attention between spans of {task}",
        "mask": draw_attention_mask(weights),
        "label": f"Mean attention of {name} between the spans of {task}: {strongest}.",
        "tokens": list(attention.spans),
    }


def snippet_rows(model: Model, place: HeadIndex) -> list[Data]:
    """Return the texts with the largest outputs of the head, from each source in turn."""
    by_profile = [profile.snippets(head_name(*place)) for profile in model.profiles]
    longest = max(map(len, by_profile), default=0)
    turns = [found[i] for i in range(longest) for found in by_profile if i < len(found)]
    # profiles on several tasks have the snippets of a user's text file in common
    different = {(s.source, s.tokens, s.query): s for s in reversed(turns)}
    return [snippet_row(snippet) for snippet in list(reversed(different.values()))[:_MAX_SNIPPETS]]


def direction_rows(model: Model, place: HeadIndex) -> list[Data]:
    """Return the top tokens of the largest singular directions of the head."""
    for profile in model.profiles:
        if found := profile.directions(head_name(*place)):
            return [
                _direction(direction)
                for circuit, count in _MAX_DIRECTIONS.items()
                for direction in [d for d in found if d.circuit == circuit][:count]
            ]
    return []


def partner_rows(model: Model, place: HeadIndex) -> list[tuple[str, str, float]]:
    """Return slot, earlier head and composition of the heads that its weights read most."""
    found = next(
        (p for profile in model.profiles if (p := profile.partners(head_name(*place)))), []
    )
    if not found:
        return []
    heads = {head_name(*other) for other in model.places if other[0] < place[0]}
    return [row for row in found if row[1] in heads and row[2] >= _LEAST_COMPOSITION]


def _pattern(pattern: Pattern, name: str) -> Data:
    count, last = len(pattern.tokens), pattern.weights[-1]
    key = int(last.argmax())
    label = (
        f"Attention of {name} on {_SIDES.get(pattern.side, pattern.side)} of {pattern.task}: "
        f"{count} tokens by {count} tokens. The last token attends most to token {key}, "
        f"“{show_token(pattern.tokens[key].strip())}” ({format_percent(last[key] / 255)})."
    )
    caption = _CAPTIONS.get(pattern.side, "On {side} of {task}")
    return {
        "caption": caption.format(side=pattern.side, task=pattern.task),
        "mask": draw_attention_mask(pattern.weights),
        "label": label,
        "tokens": [show_token(text) for text in pattern.tokens],
    }


def snippet_row(snippet: Snippet) -> Data:
    """Return the tokens around the query of a snippet, and the place of its key."""
    start = max(0, snippet.query - _BEFORE)
    end = min(len(snippet.tokens), snippet.query + _AFTER + 1)
    if snippet.key == snippet.query:
        where = "itself"
    elif snippet.key < start:
        where = "further back"
    else:
        where = "shown" if snippet.key < end else "further on"
    return {
        "source": snippet.source,
        "truncated": start > 0,
        "pieces": _mark(snippet, range(start, end)),
        "looked": snippet.tokens[snippet.key],
        "where": where,
        "weight": snippet.weight,
    }


def _mark(snippet: Snippet, positions: range) -> list[tuple[str, str]]:
    """Split a text into pieces, each with a mark: `query`, `key` or none.

    Token ids, of models without a tokenizer, get spaces between them.
    """
    marks = {snippet.key: "key", snippet.query: "query"}
    are_ids = all(token.isdecimal() for token in snippet.tokens)
    pieces: list[tuple[str, str]] = []
    for position in positions:
        if are_ids and pieces:
            text, last = pieces.pop()
            pieces += [(f"{text} ", "")] if not last else [(text, last), (" ", "")]
        mark = marks.get(position, "")
        if pieces and not mark and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + snippet.tokens[position], "")
        else:
            pieces.append((snippet.tokens[position], mark))
    return pieces


def _direction(direction: Direction) -> Data:
    reads, writes = _VERBS[direction.circuit]
    return {
        "circuit": direction.circuit.upper(),
        "reads": reads,
        "writes": writes,
        "share": direction.share**2,
        "source": " ".join(map(show_token, direction.source)),
        "target": " ".join(map(show_token, direction.target)),
    }
