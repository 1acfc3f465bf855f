"""Attention of a head on prompts, the texts it acts on, and the tokens of its directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acdc_pipeline.plotting.heatmap import draw_attention_mask
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.numbers import percent
from acdc_pipeline.wiki.profile import Direction, Pattern, Snippet
from acdc_pipeline.wiki.text import token

Facts = dict[str, Any]

_PATTERNS = 2
"""A prompt and its control."""

_SNIPPETS = 3
_BEFORE, _AFTER = 9, 2
"""Tokens shown around the position at which a head writes."""

_DIRECTIONS = {"ov": 2, "qk": 1}
_SAYS = {
    "ov": ("Looking at", "it raises"),
    "qk": ("From", "it looks at"),
}
_CAPTIONS = {
    "clean": "On a prompt of {task}",
    "corrupted": "On its counterfactual, as a control",
}
_SIDES = {"clean": "a prompt", "corrupted": "its counterfactual, as a control"}


def pattern_facts(model: Model, place: HeadIndex) -> list[Facts]:
    """The attention on one prompt, and on its counterfactual.

    Of several tasks the one counts on which the head has a role, else in whose circuit it is.
    """
    name = head_name(*place)
    roles = {role.on for role in model.roles.get(place, ())}

    def rank(task: str) -> tuple[bool, bool, str]:
        questions = model.questions.get(task, ())
        inside = bool(questions) and name in questions[0].heads
        return task not in roles, not inside, task

    profiles = sorted(model.profiles, key=lambda profile: rank(profile.task))
    kept = next((found for p in profiles if (found := p.patterns(name))), [])
    return [_pattern(pattern, name) for pattern in kept[:_PATTERNS]]


def snippet_facts(model: Model, place: HeadIndex) -> list[Facts]:
    """The texts in which the head writes most, a few from every source in turn."""
    name = head_name(*place)
    by_profile = [profile.snippets(name) for profile in model.profiles]
    longest = max(map(len, by_profile), default=0)
    turns = [found[i] for i in range(longest) for found in by_profile if i < len(found)]
    # Profiles on several tasks read the same file of a user.
    different = {(s.source, s.tokens, s.query): s for s in reversed(turns)}
    return [snippet_fact(snippet) for snippet in list(reversed(different.values()))[:_SNIPPETS]]


def direction_facts(model: Model, place: HeadIndex) -> list[Facts]:
    """The tokens that the head's OV and QK circuits take to one another."""
    for profile in model.profiles:
        found = profile.directions(head_name(*place))
        if found:
            return [
                _direction(direction)
                for circuit, count in _DIRECTIONS.items()
                for direction in [d for d in found if d.circuit == circuit][:count]
            ]
    return []


def _pattern(pattern: Pattern, name: str) -> Facts:
    count = len(pattern.tokens)
    says = (
        f"Attention of {name} on {_SIDES.get(pattern.side, pattern.side)} of {pattern.task}: "
        f"{count} tokens by {count} tokens. {_strongest(pattern)}"
    )
    return {
        "caption": _CAPTIONS.get(pattern.side, "On {side} of {task}").format(
            side=pattern.side, task=pattern.task
        ),
        "mask": draw_attention_mask(pattern.weights),
        "says": says,
        "tokens": [token(text) for text in pattern.tokens],
    }


def _strongest(pattern: Pattern) -> str:
    """Where the last token looks most."""
    last = pattern.weights[-1]
    at = int(last.argmax())
    looked = pattern.tokens[at].strip()
    return f"The last token looks most at token {at}, “{looked}” ({percent(last[at] / 255)})."


def snippet_fact(snippet: Snippet) -> Facts:
    """The tokens around the one at which a head writes, and where it looks there."""
    start = max(0, snippet.query - _BEFORE)
    end = min(len(snippet.tokens), snippet.query + _AFTER + 1)
    return {
        "source": snippet.source,
        "cut": start > 0,
        "marked": _marked(snippet, range(start, end)),
        "looked": snippet.tokens[snippet.key],
        "where": _where(snippet, start, end),
        "weight": snippet.weight,
    }


def _where(snippet: Snippet, start: int, end: int) -> str:
    """Where the token looked at is: bidirectional attention may look further on as well."""
    if snippet.key == snippet.query:
        return "itself"
    if snippet.key < start:
        return "further back"
    return "shown" if snippet.key < end else "further on"


def _marked(snippet: Snippet, places: Sequence[int]) -> list[tuple[str, str]]:
    """The text in pieces, each with its mark: `query`, `key` or none."""
    marks = {snippet.key: "key", snippet.query: "query"}
    pieces: list[tuple[str, str]] = []
    for place in places:
        mark = marks.get(place, "")
        if pieces and not mark and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + snippet.tokens[place], "")
        else:
            pieces.append((snippet.tokens[place], mark))
    return pieces


def _direction(direction: Direction) -> Facts:
    reads, writes = _SAYS[direction.circuit]
    return {
        "circuit": direction.circuit.upper(),
        "reads": reads,
        "writes": writes,
        "share": direction.share**2,
        "source": " ".join(map(token, direction.source)),
        "target": " ".join(map(token, direction.target)),
    }
