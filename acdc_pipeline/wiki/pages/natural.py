"""The pages of heads on ordinary text: where each looks, texts of each decile, what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acdc_pipeline.specs.methods.text import KEY_KINDS, kinds_of_roles
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, neighbour
from acdc_pipeline.wiki.natural import HeadOnText, TextComponent, TextExample, TextProfile
from acdc_pipeline.wiki.page import Data, SectionPage, frame
from acdc_pipeline.wiki.text import (
    format_percent,
    join_words,
    pluralize,
    show_token,
)

KINDS = {
    "current": "the token itself",
    "previous": "the token before",
    "induction": "what followed it before",
    "duplicate": "its earlier occurrences",
    "other": "other tokens",
}
"""Names of the kinds of keys; the first has that of its token."""

_BEFORE, _AFTER = 12, 3
"""Number of tokens shown before and after the query."""

_LEAST = 0.005
"""Share from which a part of the bar is drawn."""

_BEYOND = 0.05
"""Share of attention over that of a head that looks everywhere alike, from which it is said."""

_MOST_SHADE = 50
"""Percentage of colour at full attention."""

_LONGEST_PIECE = 64


class TextPage(SectionPage[HeadIndex]):
    """The page of a head on ordinary text."""

    template = "natural.html"

    def paths(self) -> Iterator[tuple[str, HeadIndex]]:
        model = self.section.model
        if model.text_id is not None:
            for place in model.places:
                yield f"m/{model.slug}/text/{head_name(*place)}.html", place

    def data(self, place: HeadIndex) -> Data:
        model, name = self.section.model, head_name(*place)
        folder = f"m/{model.slug}"
        trail = (
            ("Models", "m/index.html"),
            (model.title, f"{folder}/index.html"),
            (name, f"{folder}/{name}.html"),
            ("on ordinary text", None),
        )
        return {
            **frame(3, f"{name} of {model.title} on ordinary text", *trail),
            "model": model,
            "name": name,
            "prev": neighbour(model, place, -1),
            "next": neighbour(model, place, 1),
            **self._shown(place, name),
        }

    def _shown(self, place: HeadIndex, name: str) -> Data:
        text = self.section.model.text
        found = None if text is None else text.head(name)
        if text is None or found is None:
            return {"summary": "The run on text has no such head.", "found": None}
        rows = [
            {
                "kind": kind,
                "name": _name(text, kind),
                "share": found.attention[kind],
                "interval": " to ".join(map(format_percent, found.interval[kind])),
                "alike": text.uniform[kind],
                "having": text.having[kind],
                "output": None if found.output is None else found.output[kind],
            }
            for kind in KEY_KINDS
        ]
        return {
            **_summarize(self.section.model, place, text, found),
            "found": found,
            "rows": rows,
            "activation": format_percent(found.activation),
            "largest": _texts(found.largest),
            "deciles": [
                {
                    "number": len(found.deciles) - index,
                    "low": format_percent(found.edges[-index - 2]),
                    "high": format_percent(found.edges[-index - 1]),
                    "texts": _texts(examples),
                }
                for index, examples in enumerate(reversed(found.deciles))
            ],
            "components": [
                _component(number, one) for number, one in enumerate(found.components, start=1)
            ],
            "spectrum": join_words([format_percent(share) for share in found.spectrum]),
            "about": f"{pluralize(text.tokens, 'token')} in "
            f"{pluralize(len(text.contexts), 'context')} of at most {text.width}",
            "title_of_text": text.title,
        }


def text_summary(model: Model, place: HeadIndex) -> Data | None:
    """Return a sentence on where a head looks on text, and the parts of its bar.

    None for a model that was not measured on text.
    """
    text = model.text
    found = None if text is None else text.head(head_name(*place))
    return None if text is None or found is None else _summarize(model, place, text, found)


def _summarize(model: Model, place: HeadIndex, text: TextProfile, found: HeadOnText) -> Data:
    parts = [
        {"kind": kind, "name": _name(text, kind), "share": found.attention[kind]}
        for kind in KEY_KINDS
        if found.attention[kind] >= _LEAST
    ]
    shares = ", ".join(f"{part['name']} {format_percent(part['share'])}" for part in parts)
    return {
        "summary": describe(text, found, [role.role for role in model.roles.get(place, ())]),
        "parts": [part | {"width": f"{100 * part['share']:.1f}"} for part in parts],
        "label": f"Its attention on ordinary text: {shares}.",
    }


def describe(text: TextProfile, found: HeadOnText, roles: Sequence[str]) -> str:
    """Return the sentence: where it rests or looks most, and what its roles explain."""
    rests, kind = _resting_place(text, found)
    start = f"On {pluralize(text.tokens, 'token')} of {text.title} it {rests}"
    about = kinds_of_roles(roles)
    looking = [kind for kind in about if kind != "first"]
    if not about:
        return f"{start}; it has no role that says where it looks."
    if not looking:
        return f"{start}, {'which is' if kind == 'first' else 'against'} its role."
    share = format_percent(sum(found.attention[kind] for kind in looking))
    alike = format_percent(sum(text.uniform[kind] for kind in looking))
    where = join_words([KINDS[kind] for kind in looking])
    written = ""
    if found.output is not None:
        of_output = format_percent(sum(found.output[kind] for kind in looking))
        written = f", and {of_output} of what it writes"
    return (
        f"{start}; its roles explain {share}, on {where} (a head that looks everywhere alike: "
        f"{alike}){written}."
    )


def _resting_place(text: TextProfile, found: HeadOnText) -> tuple[str, str | None]:
    """Say where a head looks clearly more than a uniform one would: the first token if so, else
    the kind with the most beyond it. Return the words and the kind, None if there is none."""
    beyond = {kind: found.attention[kind] - text.uniform[kind] for kind in KEY_KINDS}
    rest = format_percent(found.attention["first"])
    if beyond["first"] > _BEYOND:
        return f"rests on {_name(text, 'first')} with {rest} of its attention", "first"
    most = max(KEY_KINDS, key=lambda kind: beyond[kind])
    if most == "other" or beyond[most] <= _BEYOND:
        return "rests nowhere in particular", None
    alike = format_percent(text.uniform[most])
    share = format_percent(found.attention[most])
    words = f"looks most at {KINDS[most]}: {share} of its attention, where alike would be {alike}"
    return words, most


def _name(text: TextProfile, kind: str) -> str:
    if kind != "first":
        return KINDS[kind]
    return text.first if text.first == "the first token" else show_token(text.first)


def _component(number: int, one: TextComponent) -> Data:
    return {
        "number": number,
        "share": one.share,
        "raises": " ".join(map(show_token, one.raises)),
        "lowers": " ".join(map(show_token, one.lowers)),
        "high": _texts(one.high),
        "low": _texts(one.low),
    }


def _texts(examples: Sequence[TextExample]) -> list[Data]:
    return [_text(one) for one in examples]


def _text(one: TextExample) -> Data:
    """Return the tokens around a query with the marks of query and keys, and where it looks."""
    tokens = one.context.tokens
    start, end = max(0, one.query - _BEFORE), min(len(tokens), one.query + _AFTER + 1)
    weights = dict(one.keys)
    pieces: list[tuple[str, bool, int]] = []
    for at in range(start, end):
        is_query, shade = at == one.query, round(_MOST_SHADE * weights.get(at, 0.0))
        plain = not is_query and not shade
        joins = bool(pieces) and len(pieces[-1][0]) + len(tokens[at]) <= _LONGEST_PIECE
        if plain and joins and pieces[-1][1:] == (False, 0):
            pieces[-1] = (pieces[-1][0] + tokens[at], False, 0)
        else:
            pieces.append((tokens[at], is_query, shade))
    shares = [f"{format_percent(weight)} on {_where(one, key, start)}" for key, weight in one.keys]
    return {"pieces": pieces, "cut": start > 0, "note": ", ".join(shares)}


def _where(one: TextExample, key: int, start: int) -> str:
    token = show_token(one.context.tokens[key])
    if key == one.query:
        return "itself"
    back = one.query - key
    if back > 0 and key < start:
        return f"{token} ({back} back)"
    return token
